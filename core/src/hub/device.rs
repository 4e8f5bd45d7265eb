//! What a session runs on, and what it shows when it registers.

use super::Admission;

/// A kind of program or device, by the number that OpenIM gives it; at most [`MAX`](Self::MAX).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Platform(u8);

impl Platform {
    /// The session does not say. No limit counts per platform for it.
    pub const UNSTATED: Self = Self(0);
    /// iOS.
    pub const IOS: Self = Self(1);
    /// Android.
    pub const ANDROID: Self = Self(2);
    /// Windows.
    pub const WINDOWS: Self = Self(3);
    /// macOS.
    pub const MACOS: Self = Self(4);
    /// A browser.
    pub const WEB: Self = Self(5);
    /// A program inside another one, such as a mini program.
    pub const MINI_WEB: Self = Self(6);
    /// Linux.
    pub const LINUX: Self = Self(7);
    /// An Android tablet.
    pub const ANDROID_PAD: Self = Self(8);
    /// An iPad.
    pub const IPAD: Self = Self(9);
    /// An operator's console.
    pub const ADMIN: Self = Self(10);
    /// HarmonyOS.
    pub const HARMONY: Self = Self(11);
    /// One that has no number here: all such count as one platform.
    pub const OTHER: Self = Self(31);

    /// The largest number.
    pub const MAX: u8 = 31;
    /// How many platforms there can be.
    pub(super) const COUNT: usize = Self::MAX as usize + 1;

    /// The platform with this number; `None` above [`MAX`](Self::MAX).
    pub const fn new(number: u8) -> Option<Self> {
        if number <= Self::MAX { Some(Self(number)) } else { None }
    }

    /// The number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The class that OpenIM puts the platform in today.
    pub const fn class(self) -> DeviceClass {
        match self {
            Self::IOS | Self::ANDROID => DeviceClass::Mobile,
            Self::WINDOWS | Self::MACOS | Self::LINUX => DeviceClass::Pc,
            Self::ANDROID_PAD | Self::IPAD => DeviceClass::Pad,
            _ => DeviceClass::Own,
        }
    }
}

/// Platforms that a person would call the same sort of device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum DeviceClass {
    /// A class of its own: only the same platform is of the same class.
    #[default]
    Own,
    /// Phones.
    Mobile,
    /// Desktop computers.
    Pc,
    /// Tablets.
    Pad,
}

/// What a session runs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Device {
    /// The platform.
    pub platform: Platform,
    /// Its class; deployments differ in where they put a browser.
    pub class: DeviceClass,
}

impl Device {
    /// A device of `platform`, in the class that OpenIM puts it in today.
    pub const fn of(platform: Platform) -> Self {
        Self { platform, class: platform.class() }
    }

    fn is_same_class(self, other: Self) -> bool {
        self.class == other.class && (self.class != DeviceClass::Own || self.platform == other.platform)
    }
}

impl From<Platform> for Device {
    fn from(platform: Platform) -> Self {
        Self::of(platform)
    }
}

/// Which devices of one user may be there at the same time; the numbers are OpenIM's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum DevicePolicy {
    /// 0: all of them.
    #[default]
    Any,
    /// 1: one of each platform.
    OnePerPlatform,
    /// 4: one of each class.
    OnePerClass,
    /// 5: any number of PCs, and one of everything else together.
    PcAndOne,
}

impl DevicePolicy {
    /// The policy with OpenIM's number, if it is one of those here.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Any),
            1 => Some(Self::OnePerPlatform),
            4 => Some(Self::OnePerClass),
            5 => Some(Self::PcAndOne),
            _ => None,
        }
    }

    /// OpenIM's number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Any => 0,
            Self::OnePerPlatform => 1,
            Self::OnePerClass => 4,
            Self::PcAndOne => 5,
        }
    }

    /// Whether a newcomer takes the place of one that is there.
    pub(super) fn takes_place(self, newcomer: Device, present: Device) -> bool {
        match self {
            Self::Any => false,
            Self::OnePerPlatform => newcomer.platform == present.platform,
            Self::OnePerClass => newcomer.is_same_class(present),
            Self::PcAndOne => newcomer.class != DeviceClass::Pc && present.class != DeviceClass::Pc,
        }
    }
}

/// What a session shows when it registers. The default is a session that says nothing about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Badge {
    /// What it runs on.
    pub device: Device,
    /// A keyed hash of the token it logged in with; 0 is none. Under a [`DevicePolicy`] a session with the same token
    /// does not take the place of another: it is the same login, come back.
    pub token: u64,
    /// Whom the session displaces or gives way to; `None` is what the hub does.
    pub admission: Option<Admission>,
}

/// Some platforms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct PlatformSet(u32);

impl PlatformSet {
    /// No platform.
    pub const EMPTY: Self = Self(0);
    /// Every platform, the [unstated](Platform::UNSTATED) one included.
    pub const ALL: Self = Self(u32::MAX);

    /// These, and `platform`.
    #[must_use]
    pub const fn with(self, platform: Platform) -> Self {
        Self(self.0 | 1 << platform.0)
    }

    /// These, but not `platform`.
    #[must_use]
    pub const fn without(self, platform: Platform) -> Self {
        Self(self.0 & !(1 << platform.0))
    }

    /// Whether `platform` is one of these.
    pub const fn contains(self, platform: Platform) -> bool {
        self.0 & 1 << platform.0 != 0
    }

    /// Whether all of `others` are among these.
    pub const fn contains_all(self, others: Self) -> bool {
        others.0 & !self.0 == 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many there are.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// These platforms, by number.
    pub fn iter(self) -> impl Iterator<Item = Platform> {
        (0..=Platform::MAX).map(Platform).filter(move |platform| self.contains(*platform))
    }
}

impl FromIterator<Platform> for PlatformSet {
    fn from_iter<I: IntoIterator<Item = Platform>>(platforms: I) -> Self {
        platforms.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl From<Platform> for PlatformSet {
    fn from(platform: Platform) -> Self {
        Self::EMPTY.with(platform)
    }
}
