//! The functions that OpenIM's client needs at least, and an echo to try clients with.

mod memory;
mod message;
mod store;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use linkspan_core::im::{Answer, Fault, Functions};
use linkspan_core::{Key, Overflow, Push, To};
use linkspan_runtime::Runtime;
use serde::Deserialize;
use serde_json::{Value, json};

pub use self::memory::{Memory, MemoryLimits};
use self::message::{Address, custom, outgoing, text, typing};
pub use self::store::{Conversation, Draft, Kept, Profile, Store};
use super::{Call, Caller, ImService};
use crate::services::Json;

/// How many users one call may ask about.
const USERS_MAX: usize = 500;
/// How many messages one call gives at most.
const HISTORY_MAX: usize = 500;

/// The wall time in milliseconds since 1970.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// The SDK's words for arguments that it cannot use.
fn args_failed() -> Answer {
    Answer::failure(803, "args failed")
}

fn key(user: &str) -> Result<Key, Answer> {
    Key::new(user).map_err(|_| args_failed())
}

/// The functions that OpenIM's web client calls, over `store`:
/// `GetSelfUserInfo`, `GetUsersInfo`, `CreateTextMessage`, `CreateCustomMessage`, `SendMessage`, `SendMessageNotOss`,
/// `GetAllConversationList`, `GetHistoryMessageList`, `MarkC2CMessageAsRead`, `TypingStatusUpdate`, and
/// `SubscribeUsersStatus` and `UnsubscribeUsersStatus` for presence. More are added, and these replaced, with
/// [`ImService::function`].
pub fn functions(store: impl Store) -> ImService {
    let store = Arc::new(store);
    let with = || Arc::clone(&store);
    let (seen, own, users, send, send_plain) = (with(), with(), with(), with(), with());
    let (list, history, read) = (with(), with(), with());
    ImService::new()
        .login(move |login| {
            let store = Arc::clone(&seen);
            async move {
                store.seen(login.caller.user(), now() / 1000).await;
                Answer::success("")
            }
        })
        .function("GetSelfUserInfo", move |caller: Caller| {
            let store = Arc::clone(&own);
            async move { Json(store.profile(caller.user()).await) }
        })
        .function("GetUsersInfo", move |list| get_users(Arc::clone(&users), list))
        .function("CreateTextMessage", async |caller: Caller, content: String| Json(text(&caller, content)))
        .function("CreateCustomMessage", async |caller: Caller, Json(custom_part): Json<Custom>| {
            Json(custom(&caller, &custom_part.data, &custom_part.extension, &custom_part.description))
        })
        .function("SendMessage", move |caller, sent| send_message(Arc::clone(&send), caller, sent))
        .function("SendMessageNotOss", move |caller, sent| {
            send_message(Arc::clone(&send_plain), caller, sent)
        })
        .function("GetAllConversationList", move |caller| conversations(Arc::clone(&list), caller))
        .function("GetHistoryMessageList", move |caller, asked| {
            get_history(Arc::clone(&history), caller, asked)
        })
        .function("MarkC2CMessageAsRead", move |caller: Caller, Json(Read { peer }): Json<Read>| {
            let store = Arc::clone(&read);
            async move { store.mark_read(caller.user(), &peer).await }
        })
        .function("TypingStatusUpdate", type_status)
        .function("SubscribeUsersStatus", async |caller: Caller, list: Json<Vec<String>>| {
            watch(&list.0, |user| caller.watch(user))
        })
        .function("UnsubscribeUsersStatus", async |caller: Caller, list: Json<Vec<String>>| {
            watch(&list.0, |user| caller.unwatch(user))
        })
}

/// Every function that v2 clients know, answered with its own name and arguments: `{"fn","args":[data,operationID]}`. A
/// login takes `delay`.
pub fn echo<R: Runtime>(runtime: &R, delay: Duration) -> ImService {
    let runtime = runtime.clone();
    let service = ImService::new().login(move |_| {
        let sleep = runtime.sleep_until(std::time::Instant::now() + delay);
        async move {
            if !delay.is_zero() {
                sleep.await;
            }
            Answer::success("")
        }
    });
    let own = ["Logout", "GetLoginStatus", "GetLoginUser"];
    let known = Functions::default();
    let names = known.iter().map(|(name, _)| name).filter(|name| !own.contains(name));
    names.fold(service, |service, name| {
        service.function(name, async |call: Call| {
            Json(json!({"fn": call.function, "args": [call.data, call.operation]}))
        })
    })
}

async fn get_users(store: Arc<impl Store>, Json(users): Json<Vec<String>>) -> Result<Json<Value>, Answer> {
    if users.len() > USERS_MAX {
        return Err(args_failed());
    }
    let mut list = Vec::with_capacity(users.len());
    for user in users {
        let profile = store.profile(&user).await;
        list.push(json!({"publicInfo": profile, "friendInfo": null, "blackInfo": null}));
    }
    Ok(Json(list.into()))
}

#[derive(Deserialize)]
struct Custom {
    data: String,
    extension: String,
    description: String,
}

/// What is sent; the table has looked at the types.
#[derive(Deserialize)]
struct Send {
    message: String,
    #[serde(rename = "recvID")]
    receiver: String,
    #[serde(rename = "groupID")]
    group: String,
}

async fn send_message(
    store: Arc<impl Store>,
    caller: Caller,
    Json(Send { message, receiver, group }): Json<Send>,
) -> Result<Answer, Answer> {
    if !group.is_empty() {
        // Who is in a group is nothing that is kept here.
        return Err(Answer::failure(803, "args failed: there are no groups here"));
    }
    let to = key(&receiver)?;
    let draft = outgoing(&caller, &receiver, &message, now()).ok_or_else(args_failed)?;
    let is_other = receiver != caller.user();
    let kept = store
        .append(draft, |kept| {
            if is_other {
                caller.switchboard().push_to(&to, "OnRecvNewMessage", kept.text.clone());
            }
        })
        .await;
    if kept.is_first {
        tell_of_conversation(&*store, &caller, &receiver, &to).await;
    }
    Ok(Answer::success(String::from_utf8_lossy(&kept.text).into_owned()))
}

/// Tells both users that they have a conversation now.
async fn tell_of_conversation(store: &impl Store, caller: &Caller, receiver: &str, to: &Key) {
    for (user, peer, key) in [(caller.user(), receiver, caller.key()), (receiver, caller.user(), to)] {
        let all = store.conversations(user).await;
        if let Some(one) = all.iter().find(|one| one.peer == peer) {
            let list = json!([message::conversation(one)]).to_string();
            let push = Push::new("OnNewConversation", list, Overflow::Close);
            caller.switchboard().publish(To::Key(key.clone()), push);
        }
    }
}

async fn conversations(store: Arc<impl Store>, caller: Caller) -> Json<Value> {
    let all = store.conversations(caller.user()).await;
    Json(all.iter().map(message::conversation).collect::<Vec<_>>().into())
}

/// Which messages are wanted; the conversation is that with `userID`, or the one called `conversationID`.
#[derive(Deserialize)]
struct Asked {
    #[serde(default, rename = "userID")]
    peer: String,
    #[serde(default, rename = "conversationID")]
    conversation: String,
    #[serde(default, rename = "startClientMsgID")]
    before: String,
    #[serde(default)]
    count: usize,
}

async fn get_history(
    store: Arc<impl Store>,
    caller: Caller,
    Json(Asked { peer, conversation, before, count }): Json<Asked>,
) -> Result<Answer, Answer> {
    let peer = match (&*peer, conversation.strip_prefix(message::SINGLE)) {
        ("", Some(peer)) => peer,
        ("", None) => return Err(args_failed()),
        (peer, _) => peer,
    };
    let before = (!before.is_empty()).then_some(&*before);
    let kept = store.history(caller.user(), peer, before, count.min(HISTORY_MAX)).await;
    let texts: Vec<_> = kept.iter().map(|one| String::from_utf8_lossy(&one.text)).collect();
    Ok(Answer::success(format!("[{}]", texts.join(","))))
}

#[derive(Deserialize)]
struct Read {
    #[serde(rename = "userID")]
    peer: String,
}

#[derive(Deserialize)]
struct Typing {
    #[serde(rename = "recvID")]
    receiver: String,
    #[serde(rename = "msgTip")]
    tip: String,
}

/// Tells the other that the user types; nothing of it is kept, and one who is slow may miss it.
async fn type_status(caller: Caller, Json(Typing { receiver, tip }): Json<Typing>) -> Result<(), Answer> {
    let to = To::Key(key(&receiver)?);
    let message = typing(&caller, Address { receiver: &receiver, now: now() }, tip);
    let push = Push::new("OnRecvNewMessage", Value::Object(message).to_string(), Overflow::DropNewest);
    caller.switchboard().publish(to, push);
    Ok(())
}

/// Watches, or no longer watches, every one of `users`.
fn watch<E>(users: &[String], change: impl Fn(&Key) -> Result<(), E>) -> Result<(), Answer> {
    if users.len() > USERS_MAX {
        return Err(args_failed());
    }
    let keys: Vec<Key> = users.iter().map(|user| key(user)).collect::<Result<_, _>>()?;
    keys.iter().try_for_each(change).map_err(|_| Fault::Parameter.into())
}
