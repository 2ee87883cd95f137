//! Names of people: the form in which they are kept, and the key by which they are compared.
//!
//! Nothing else makes either. Usernames and e-mail addresses are one namespace, so both have the same
//! kind of key. A key must never be shown: it is for comparing only.

use crate::text::{folded, is_unseen, nfkc};
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use std::borrow::Cow;

/// A username as it is kept.
pub fn kept_username(name: &str) -> String {
    nfkc(name)
}

/// An address as it is kept: its domain in lower case, and in letters where it came as `xn--…`. One with
/// characters that nobody sees is left alone, so that it is refused and not mended in silence.
pub fn kept_email(address: &str) -> String {
    let address = nfkc(address);
    let Some((local, domain)) = address.rsplit_once('@') else {
        return address;
    };
    if domain.contains(is_unseen) {
        return address;
    }
    let (letters, read) =
        Uts46::new().to_unicode(domain.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow);
    match read {
        Ok(()) => format!("{local}@{letters}"),
        Err(_) => format!("{local}@{}", domain.to_lowercase()),
    }
}

/// The key of a username or address, whichever of its spellings is given: blanks around it and
/// characters that nobody sees do not count. What is behind the last `@` is compared as DNS does.
pub fn key(name: &str) -> String {
    let name = nfkc(name);
    let name = name.trim();
    if let Some((local, domain)) = name.rsplit_once('@')
        && let Some(domain) = as_dns_reads(domain)
    {
        return format!("{}@{domain}", folded(local));
    }
    folded(name)
}

/// The same name for DNS, however it is spelt. With a final dot it is the same name.
fn as_dns_reads(domain: &str) -> Option<Cow<'_, str>> {
    let bytes = domain.as_bytes();
    let read = Uts46::new().to_ascii(
        bytes,
        AsciiDenyList::EMPTY,
        Hyphens::Allow,
        DnsLength::Ignore,
    );
    let read = read.ok()?;
    let is_name = |name: &&str| !name.is_empty() && !name.ends_with('.');
    match read.strip_suffix('.').filter(is_name) {
        Some(name) => Some(Cow::Owned(name.to_owned())),
        None => Some(read),
    }
}

/// The ASCII form of a domain that mail can be sent to: labels of letters, digits and dashes, at most
/// 63 characters each, two at least, the last of them no number.
pub(super) fn mail_domain(domain: &str) -> Option<Cow<'_, str>> {
    let bytes = domain.as_bytes();
    let read = Uts46::new().to_ascii(
        bytes,
        AsciiDenyList::STD3,
        Hyphens::CheckFirstLast,
        DnsLength::Verify,
    );
    read.ok().filter(|ascii| {
        ascii
            .rsplit_once('.')
            .is_some_and(|(_, last)| !last.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_name_have_one_key() {
        for (a, b) in [
            ("Alice", "ａｌｉｃｅ"),
            ("fiona", "ﬁona"),
            ("ΟΔΟΣ", "οδοσ"),
            ("οδος", "ΟΔΟΣ"),
            ("José", "jose\u{301}"),
            ("straße", "STRASSE"),
            ("STRAẞE", "strasse"),
            ("\u{3f4}", "θ"),
            ("\u{212a}elvin", "kelvin"),
            ("α\u{345}\u{301}", "Α\u{301}\u{399}"),
            ("ｶﾞ", "ガ"),
            ("x²", "x2"),
            ("ali\u{200b}ce", "alice"),
            ("\u{202e}alice", "alice"),
            ("al\u{ad}ice", "alice"),
            ("alice\u{fe0f}", "alice"),
            ("al\u{e0061}ice", "alice"),
            (" alice\u{a0}", "alice"),
            ("a@EXAMPLE.com", "A@example.COM"),
            ("a＠example．com", "a@example.com"),
            ("a@example。com", "a@example.com"),
            ("a@BÜCHER.example", "a@xn--bcher-kva.example"),
            ("a@bu\u{308}cher.example", "a@xn--bcher-kva.example"),
            ("a@b.example.", "a@b.example"),
            ("a@B.EXAMPLE.", "a@b.example"),
            ("a@b.example。", "a@b.example"),
            ("a@b.example．", "a@b.example"),
            ("a@b.example｡", "a@b.example"),
            ("a@bücher.example.", "a@xn--bcher-kva.example"),
            ("a@localhost.", "a@localhost"),
            ("a@b@c.example.", "a@b@c.example"),
        ] {
            assert_eq!(key(a), key(b), "{a} {b}");
        }
        for (a, b) in [
            ("alice", "a1ice"),
            ("resume", "résumé"),
            // The dotless letter is another one, in every language that has it.
            ("ı", "i"),
            // As DNS sees it these are two domains.
            ("a@straße.example", "a@strasse.example"),
            ("a@b.example", "a@b-example"),
            // One dot ends a name; two are none.
            ("a@b.example..", "a@b.example"),
            ("a@b.example..", "a@b.example."),
            // A dot before the `@`, or where there is none, is a letter like others.
            ("a.@b.example", "a@b.example"),
            ("a.", "a"),
            ("a@.", "a@"),
        ] {
            assert_ne!(key(a), key(b), "{a} {b}");
        }
    }

    #[test]
    fn keys_and_kept_forms_are_fixed_points() {
        // Every letter where folding and normalising do most, and some of the others.
        let most = [0..0x600, 0x1e00..0x2200, 0xfb00..0xfb20, 0xff00..0xfff0];
        let others = (0x600..0x11_0000).step_by(251);
        let all = most.into_iter().flatten().chain(others);
        let mut texts: Vec<String> = all
            .filter_map(char::from_u32)
            .map(|c| format!("a{c}\u{301}@B{c}.example"))
            .collect();
        texts.extend(
            [
                "İI\u{307}",
                "\u{390}\u{1fd3}",
                "ǰJ\u{30c}",
                "ŉ",
                "ﬃ",
                "@@",
                "a@b.",
                "a@b..",
                "a@.",
                "a@",
                "@b",
            ]
            .map(str::to_owned),
        );
        for text in texts {
            let once = key(&text);
            assert_eq!(key(&once), once, "{text:?}");
            assert_eq!(key(&kept_username(&text)), once, "{text:?}");
            assert_eq!(key(&kept_email(&text)), once, "{text:?}");
            for keep in [kept_username, kept_email] {
                let kept = keep(&text);
                assert_eq!(keep(&kept), kept, "{text:?}");
            }
        }
    }

    #[test]
    fn an_address_is_kept_with_its_domain_in_lower_case() {
        for (given, kept) in [
            ("Ann.B@EXAMPLE.Com", "Ann.B@example.com"),
            ("a@BLOCKED.example", "a@blocked.example"),
            ("a@xn--BCHER-kva.Example", "a@bücher.example"),
            ("a＠ｅｘ．com", "a@ex.com"),
            ("no address", "no address"),
            ("a@EX\u{ad}.com", "a@EX\u{ad}.com"),
        ] {
            assert_eq!(kept_email(given), kept);
        }
    }

    #[test]
    fn mail_goes_to_dns_names_only() {
        let label = "a".repeat(63);
        for domain in [
            "b.c",
            "x-y.co.uk",
            "bücher.example",
            &format!("{label}.org"),
        ] {
            assert!(mail_domain(domain).is_some(), "{domain}");
        }
        for domain in [
            "",
            "b",
            ".c",
            "b.",
            "b..c",
            "-b.c",
            "b-.c",
            "b_c.d",
            "[1.2.3.4]",
            "1.2.3.4",
            "b c.d",
            "xn--a.example",
            "b\u{200d}.c",
            "b.c.",
            &format!("a{label}.org"),
            &"a.".repeat(130),
        ] {
            assert_eq!(mail_domain(domain), None, "{domain}");
        }
    }
}
