//! A version of more than one file: the files, checked, and addressed by what is in them.
//!
//! Must never hold a path that leads out of the folder into which it is unpacked.

use crate::limits;
use crate::text::{hex, prefix};
use crate::validation::FieldError;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::str::FromStr;

/// What a client calls a bundle in a request or its faults.
const FIELD: &str = "bundle";

/// Files by their path, within the bounds of [`limits`].
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Bundle {
    files: BTreeMap<String, Vec<u8>>,
    bytes: usize,
}

/// Names and sizes only: files may hold anything.
impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes = self
            .files
            .iter()
            .map(|(path, content)| (path, content.len()));
        f.debug_map().entries(sizes).finish()
    }
}

/// What a bundle is called: `sha256:` and 64 hexadecimal digits of what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BundleDigest(String);

/// The files as they are stored and sent, and what they are called.
#[derive(Debug, Clone)]
pub struct PackedBundle {
    /// What is in it.
    pub digest: BundleDigest,
    /// See [`Bundle::encode`].
    pub encoded: Vec<u8>,
}

/// A bundle as a version names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleRef {
    /// What is in it.
    pub digest: BundleDigest,
    /// The path of the file with the entry point, whose text the version shows as its code.
    pub file: String,
    /// How many files there are.
    pub files: usize,
    /// Their bytes.
    pub bytes: usize,
}

/// Why there is no such bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BundleFault(String);

impl From<BundleFault> for FieldError {
    fn from(fault: BundleFault) -> Self {
        Self::new(FIELD, fault.0)
    }
}

impl Bundle {
    /// Adds a file.
    ///
    /// # Errors
    /// A path that is no plain relative one, or stands there already, or is a folder's; more files or bytes than
    /// [`limits::BUNDLE_FILES`] and [`limits::BUNDLE_BYTES`].
    pub fn add(&mut self, path: &str, content: Vec<u8>) -> Result<(), BundleFault> {
        check_path(path)?;
        if self.files.len() >= limits::BUNDLE_FILES {
            let most = limits::BUNDLE_FILES;
            return Err(BundleFault(format!("Send at most {most} files")));
        }
        self.bytes += content.len();
        if self.bytes > limits::BUNDLE_BYTES {
            return Err(too_large());
        }
        let shown = shown(path);
        if self.is_folder(path) || folders(path).any(|folder| self.files.contains_key(folder)) {
            let message = format!("'{shown}' is a file and a folder");
            return Err(BundleFault(message));
        }
        match self.files.entry(path.to_owned()) {
            Entry::Vacant(place) => {
                place.insert(content);
                Ok(())
            }
            Entry::Occupied(_) => Err(BundleFault(format!("'{shown}' stands there twice"))),
        }
    }

    fn is_folder(&self, path: &str) -> bool {
        let within = format!("{path}/");
        let mut after = self.files.range(within.clone()..);
        after.next().is_some_and(|(it, _)| it.starts_with(&within))
    }

    /// What is in the file at `path`.
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(Vec::as_slice)
    }

    /// Files and what is in them, by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let pairs = self.files.iter();
        pairs.map(|(path, content)| (path.as_str(), content.as_slice()))
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is no file.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Bytes of all files.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// One text of bytes for the same files, in whatever order they were added: of each file its path and what is in
    /// it, both with their length in 32 bits before it, the highest byte first.
    pub fn encode(&self) -> Vec<u8> {
        let names: usize = self.files.keys().map(|path| path.len() + 8).sum();
        let mut encoded = Vec::with_capacity(self.bytes + names);
        let mut put = |part: &[u8]| {
            // Bounds far below.
            let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
            encoded.extend_from_slice(&length.to_be_bytes());
            encoded.extend_from_slice(part);
        };
        for (path, content) in &self.files {
            put(path.as_bytes());
            put(content);
        }
        encoded
    }

    /// The files, ready to be stored.
    pub fn pack(&self) -> PackedBundle {
        let encoded = self.encode();
        PackedBundle {
            digest: BundleDigest::of(&encoded),
            encoded,
        }
    }

    /// The files of [`Self::encode`].
    ///
    /// # Errors
    /// What is no such text, or breaks the rules of [`Self::add`].
    pub fn decode(mut encoded: &[u8]) -> Result<Self, BundleFault> {
        let broken = || BundleFault("The bundle ends before it is complete".to_owned());
        let mut bundle = Self::default();
        while !encoded.is_empty() {
            let path = part(&mut encoded).ok_or_else(broken)?;
            let content = part(&mut encoded).ok_or_else(broken)?;
            let path = std::str::from_utf8(path)
                .map_err(|_| BundleFault("A path is not UTF-8".to_owned()))?;
            bundle.add(path, content.to_vec())?;
        }
        Ok(bundle)
    }
}

impl BundleDigest {
    /// Of what [`Bundle::encode`] gives.
    pub fn of(encoded: &[u8]) -> Self {
        Self(format!("sha256:{}", hex(&Sha256::digest(encoded))))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BundleDigest {
    type Err = BundleFault;

    fn from_str(text: &str) -> Result<Self, BundleFault> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let digits = text.strip_prefix("sha256:");
        match digits.filter(|it| it.len() == 64 && it.bytes().all(is_digit)) {
            Some(_) => Ok(Self(text.to_owned())),
            None => {
                let message = "A bundle is named by sha256: and 64 lower-case hexadecimal digits; to send \
                               one, use multipart/form-data";
                Err(BundleFault(message.to_owned()))
            }
        }
    }
}

impl TryFrom<String> for BundleDigest {
    type Error = BundleFault;

    fn try_from(text: String) -> Result<Self, BundleFault> {
        text.parse()
    }
}

impl From<BundleDigest> for String {
    fn from(digest: BundleDigest) -> Self {
        digest.0
    }
}

impl fmt::Display for BundleDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn too_large() -> BundleFault {
    let most = limits::BUNDLE_BYTES >> 20;
    BundleFault(format!("All files together may have {most} MiB, unpacked"))
}

fn part<'e>(encoded: &mut &'e [u8]) -> Option<&'e [u8]> {
    let (length, rest) = encoded.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (part, rest) = rest.split_at_checked(length)?;
    *encoded = rest;
    Some(part)
}

/// A path as an error shows it.
fn shown(path: &str) -> String {
    let plain = |letter: char| {
        if letter.is_control() {
            '\u{fffd}'
        } else {
            letter
        }
    };
    prefix(path, 100).chars().map(plain).collect()
}

/// The folders around a path, the outermost first.
fn folders(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(end, _)| &path[..end])
}

fn check_path(path: &str) -> Result<(), BundleFault> {
    let refused = |why: &str| Err(BundleFault(format!("'{}' {why}", shown(path))));
    if path.len() > limits::BUNDLE_PATH_BYTES {
        let most = limits::BUNDLE_PATH_BYTES;
        return refused(&format!("is a path of more than {most} bytes"));
    }
    if path.starts_with('/') || path.contains('\\') {
        return refused("is no relative path with / between its parts");
    }
    if path.chars().any(char::is_control) {
        return refused("has control characters in its path");
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return refused("leads elsewhere: a path has names only, no empty part, '.' or '..'");
    }
    if path.split('/').count() > limits::BUNDLE_DEPTH {
        let most = limits::BUNDLE_DEPTH;
        return refused(&format!("lies deeper than {most} folders"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(files: &[(&str, &[u8])]) -> Result<Bundle, BundleFault> {
        let mut bundle = Bundle::default();
        for (path, content) in files {
            bundle.add(path, content.to_vec())?;
        }
        Ok(bundle)
    }

    #[test]
    fn only_plain_relative_paths_are_taken() {
        let long = "x".repeat(limits::BUNDLE_PATH_BYTES + 1);
        let deep = "d/".repeat(limits::BUNDLE_DEPTH) + "f";
        for wrong in [
            "",
            "/etc/passwd",
            "..",
            "../x",
            "a/../../x",
            "a//b",
            "./a",
            "a/.",
            "a/",
            "a\\b",
            "a\0b",
            "a\nb",
            &long,
            &deep,
        ] {
            assert!(bundle(&[(wrong, b"")]).is_err(), "{wrong:?}");
        }
        let name = "x".repeat(limits::BUNDLE_PATH_BYTES);
        for right in [
            "main.py", "a/b.txt", "...", "..a", "a/..b", ".env", "ü/ß", &name,
        ] {
            assert!(bundle(&[(right, b"")]).is_ok(), "{right:?}");
        }
    }

    #[test]
    fn a_path_is_one_file_and_nothing_else() {
        for wrong in [
            ["a", "a"],
            ["a", "a/b"],
            ["a/b", "a"],
            ["a/b/c", "a/b"],
            ["a/b", "a/b/c"],
        ] {
            assert!(
                bundle(&wrong.map(|it| (it, &b""[..]))).is_err(),
                "{wrong:?}"
            );
        }
        for right in [
            ["a", "ab"],
            ["a/b", "a-b"],
            ["a/b", "a.b"],
            ["a/b", "a/bc"],
            ["a/b", "a0"],
        ] {
            assert!(bundle(&right.map(|it| (it, &b""[..]))).is_ok(), "{right:?}");
        }
    }

    #[test]
    fn files_and_bytes_are_bounded() {
        let half = vec![0; limits::BUNDLE_BYTES / 2];
        assert!(bundle(&[("a", &half), ("b", &half)]).is_ok());
        assert!(bundle(&[("a", &half), ("b", &half), ("c", b"x")]).is_err());
        let mut many = Bundle::default();
        for number in 0..limits::BUNDLE_FILES {
            many.add(&number.to_string(), Vec::new()).unwrap();
        }
        assert!(many.add("more", Vec::new()).is_err());
    }

    #[test]
    fn the_same_files_are_the_same_bundle_in_whatever_order() {
        let one = bundle(&[("a", b"1"), ("b/c", b"")]).unwrap();
        let other = bundle(&[("b/c", b""), ("a", b"1")]).unwrap();
        assert_eq!(one.encode(), other.encode());
        assert_eq!(Bundle::decode(&one.encode()).as_ref(), Ok(&one));
        for different in [
            bundle(&[("a", b"1")]),
            bundle(&[("a", b"1"), ("b/c", b"x")]),
            bundle(&[("a", b""), ("b/c", b"1")]),
            bundle(&[("a1", b""), ("b/c", b"")]),
        ] {
            let different = different.unwrap().encode();
            assert_ne!(
                BundleDigest::of(&different),
                BundleDigest::of(&one.encode())
            );
        }
    }

    #[test]
    fn what_was_cut_or_made_up_is_no_bundle() {
        let whole = bundle(&[("a", b"1"), ("b", b"22")]).unwrap().encode();
        let first = bundle(&[("a", b"1")]).unwrap().encode().len();
        for end in 1..whole.len() {
            assert_eq!(Bundle::decode(&whole[..end]).is_ok(), end == first, "{end}");
        }
        assert!(Bundle::decode(&[0xff; 64]).is_err());
        assert!(Bundle::decode(&[0, 0, 0, 2, b'.', b'.', 0, 0, 0, 0]).is_err());
    }

    #[test]
    fn a_digest_is_written_one_way() {
        let digest = BundleDigest::of(b"");
        assert_eq!(digest.as_str().parse(), Ok(digest.clone()));
        let upper = digest.as_str().to_uppercase();
        for wrong in ["", "sha256:", "sha256:ab", &digest.as_str()[7..], &upper] {
            assert!(wrong.parse::<BundleDigest>().is_err(), "{wrong}");
        }
    }
}
