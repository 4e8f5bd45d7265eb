// One <main> per demo; the part of the address behind # says which one is shown.

const tabs = [...document.querySelectorAll('nav a[href^="#"]')];

function show() {
  const chosen = tabs.find((tab) => tab.hash === location.hash) ?? tabs[0];
  for (const tab of tabs) {
    document.querySelector(tab.hash).hidden = tab !== chosen;
    if (tab === chosen) tab.setAttribute('aria-current', 'page');
    else tab.removeAttribute('aria-current');
  }
}

addEventListener('hashchange', show);
show();
