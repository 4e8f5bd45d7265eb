//! What stands in the address of a handshake.

use alloc::string::String;
use alloc::vec::Vec;

use super::Token;
use crate::hub::Platform;

/// The arguments of a handshake; of a repeated one the first counts. Names are case-sensitive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// `sendID`: the user.
    pub user: Option<String>,
    /// `token`: what proves it.
    pub token: Option<Token>,
    /// `platformID`: the number of the platform.
    pub platform: Option<String>,
    /// `operationID`: what the check of the token is known by.
    pub operation: Option<String>,
}

impl Arguments {
    /// Reads what stands behind the question mark, as Go's `net/url` does: a pair with a bad escape or a semicolon does
    /// not count, and neither does one that is not UTF-8.
    pub fn parse(query: &str) -> Self {
        let mut arguments = Self::default();
        for pair in query.split('&').filter(|pair| !pair.contains(';')) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let field = match unescape(name).as_deref() {
                Some("sendID") => &mut arguments.user,
                Some("platformID") => &mut arguments.platform,
                Some("operationID") => &mut arguments.operation,
                Some("token") => {
                    if arguments.token.is_none() {
                        arguments.token = unescape(value).map(Token::from);
                    }
                    continue;
                }
                _ => continue,
            };
            if field.is_none() {
                *field = unescape(value);
            }
        }
        arguments
    }
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// The platform that a `platformID` names: a decimal number, of which the low 32 bits count. Whatever has no platform
/// is [`OTHER`](Platform::OTHER), so that the limit per platform holds for it too.
///
/// ```
/// use linkspan_core::hub::Platform;
/// use linkspan_core::im::parse_platform;
///
/// assert_eq!(parse_platform("5"), Platform::WEB);
/// assert_eq!(parse_platform("five"), Platform::OTHER);
/// ```
pub fn parse_platform(text: &str) -> Platform {
    let number = text.parse::<i64>().unwrap_or(0) as i32;
    match u8::try_from(number).ok().and_then(Platform::new) {
        Some(platform) if (Platform::IOS..=Platform::HARMONY).contains(&platform) => platform,
        _ => Platform::OTHER,
    }
}

/// The platform that a token's claim names, by the names of OpenIM's servers; whatever is none of them is
/// [`OTHER`](Platform::OTHER).
pub fn platform_by_name(name: &str) -> Platform {
    match name {
        "IOS" => Platform::IOS,
        "Android" => Platform::ANDROID,
        "Windows" => Platform::WINDOWS,
        "OSX" => Platform::MACOS,
        "Web" => Platform::WEB,
        "MiniWeb" => Platform::MINI_WEB,
        "Linux" => Platform::LINUX,
        "APad" => Platform::ANDROID_PAD,
        "IPad" => Platform::IPAD,
        "Admin" => Platform::ADMIN,
        "HarmonyOS" => Platform::HARMONY,
        _ => Platform::OTHER,
    }
}
