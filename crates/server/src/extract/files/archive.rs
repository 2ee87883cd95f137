//! Files from a tar archive, compressed or not.
//!
//! Must never write a file, follow a link, or hold more than a version may have.

use super::{Arrived, apart};
use crate::error::ApiError;
use axum::body::{Body, Bytes};
use flate2::read::MultiGzDecoder;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use std::io::Read;
use tar::{Archive, Entry, EntryType};
use tollgate_core::functions::{Bundle, BundleFault};
use tollgate_core::limits;
use tollgate_core::text::prefix;
use tollgate_core::validation::FieldError;

/// How a gzip file begins (RFC 1952, section 2.3.1).
const GZIP: &[u8] = &[0x1f, 0x8b];
/// What an archive may have beside what is in its files: heads, padding, longer names.
const AROUND: u64 = (limits::BUNDLE_FILES as u64) * 4096;

/// The files of a body that is an archive.
pub(super) async fn read(body: Body) -> Result<Arrived, ApiError> {
    let limited = Limited::new(body, limits::UPLOAD_BYTES);
    let bytes = match limited.collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Err(ApiError::too_large(limits::UPLOAD_BYTES));
        }
        Err(_) => {
            let message = "The request body ended before it was complete";
            return Err(ApiError::bad_request(message));
        }
    };
    let files = unpacked(bytes).await?;
    Ok(Arrived {
        json: "{}".to_owned(),
        files: Some(files),
    })
}

/// The files of an archive.
pub(super) async fn unpacked(bytes: Bytes) -> Result<Bundle, ApiError> {
    apart(move || {
        let unpacked = if bytes.starts_with(GZIP) {
            files(MultiGzDecoder::new(&bytes[..]))
        } else {
            files(&bytes[..])
        };
        unpacked.map_err(|message| ApiError::faults(vec![FieldError::new("bundle", message)]))
    })
    .await
}

fn files(content: impl Read) -> Result<Bundle, String> {
    let most = limits::BUNDLE_BYTES as u64 + AROUND;
    let mut archive = Archive::new(content.take(most + 1));
    let mut bundle = Bundle::default();
    let entries = archive.entries().map_err(broken)?;
    // Of the raw kind, long names and their like would be entries of their own.
    for entry in entries {
        let entry = entry.map_err(broken)?;
        add(entry, &mut bundle)?;
    }
    if bundle.is_empty() {
        return Err("The archive has no files in it".to_owned());
    }
    Ok(bundle)
}

fn add(mut entry: Entry<'_, impl Read>, bundle: &mut Bundle) -> Result<(), String> {
    let path = entry.path_bytes().into_owned();
    let path = String::from_utf8(path).map_err(|_| "A path is not UTF-8".to_owned())?;
    let shown = || prefix(&path, 100).escape_default().to_string();
    match entry.header().entry_type() {
        EntryType::Regular | EntryType::Continuous => {}
        EntryType::Directory | EntryType::XGlobalHeader => return Ok(()),
        EntryType::Symlink | EntryType::Link => {
            return Err(format!("'{}' is a link; send the file itself", shown()));
        }
        _ => return Err(format!("'{}' is no plain file", shown())),
    }
    let left = limits::BUNDLE_BYTES.saturating_sub(bundle.bytes());
    let size = usize::try_from(entry.size()).unwrap_or(usize::MAX);
    if size > left {
        let most = limits::BUNDLE_BYTES >> 20;
        return Err(format!("All files together may have {most} MiB, unpacked"));
    }
    let mut content = Vec::with_capacity(size);
    entry.read_to_end(&mut content).map_err(broken)?;
    if content.len() != size {
        return Err(format!("'{}' ends before it is complete", shown()));
    }
    let path = path.strip_prefix("./").unwrap_or(&path);
    bundle
        .add(path, content)
        .map_err(|fault: BundleFault| fault.to_string())
}

fn broken(error: std::io::Error) -> String {
    format!("This is no tar archive, or it is cut off or too large: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write as _;
    use tar::{Builder, Header};

    fn tar(entries: &[(EntryType, &[u8], &[u8])]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (kind, path, content) in entries {
            let mut header = Header::new_gnu();
            // Written as it is: the library would refuse what a hostile client does not.
            header.as_mut_bytes()[..path.len()].copy_from_slice(path);
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn names(bundle: &Bundle) -> Vec<&str> {
        bundle.files().map(|(path, _)| path).collect()
    }

    const FILE: EntryType = EntryType::Regular;

    #[tokio::test]
    async fn files_are_read_from_archives_with_and_without_compression() {
        let plain = tar(&[
            (EntryType::Directory, b"./", b""),
            (FILE, b"./main.py", b"1"),
            (EntryType::Directory, b"pkg/", b""),
            (FILE, b"pkg/a.py", b""),
        ]);
        for bytes in [gzip(&plain), plain] {
            let bundle = unpacked(bytes.into()).await.unwrap();
            assert_eq!(names(&bundle), ["main.py", "pkg/a.py"]);
            assert_eq!(bundle.file("main.py"), Some(&b"1"[..]));
        }
    }

    #[tokio::test]
    async fn what_leads_elsewhere_or_is_no_file_is_refused() {
        for (kind, path) in [
            (FILE, &b"../main.py"[..]),
            (FILE, b"/etc/passwd"),
            (FILE, b"a/../../b"),
            (FILE, b"a\\b"),
            (FILE, b"\xff"),
            (EntryType::Symlink, b"main.py"),
            (EntryType::Link, b"main.py"),
            (EntryType::Fifo, b"main.py"),
            (EntryType::Char, b"main.py"),
            (EntryType::GNUSparse, b"main.py"),
        ] {
            let bytes = tar(&[(kind, path, b"")]);
            assert!(unpacked(bytes.into()).await.is_err(), "{kind:?} {path:?}");
        }
        let twice = tar(&[(FILE, b"a", b""), (FILE, b"./a", b"")]);
        assert!(unpacked(twice.into()).await.is_err());
    }

    #[tokio::test]
    async fn what_is_no_archive_or_too_large_unpacked_is_refused() {
        let whole = tar(&[(FILE, b"a", &[1; 3000])]);
        let cut = whole[..1500].to_vec();
        let empty = tar(&[]);
        let bomb = {
            let zeros = vec![0; limits::BUNDLE_BYTES / 2 + 1];
            gzip(&tar(&[(FILE, b"a", &zeros), (FILE, b"b", &zeros)]))
        };
        assert!(bomb.len() < 1 << 20);
        let mut lies = Header::new_gnu();
        lies.set_path("a").unwrap();
        lies.set_size(u64::MAX / 2);
        lies.set_cksum();
        for bytes in [
            cut.clone(),
            gzip(&cut),
            gzip(&whole)[..30].to_vec(),
            empty,
            bomb,
            b"no archive at all".to_vec(),
            Vec::new(),
            lies.as_bytes().to_vec(),
        ] {
            assert!(unpacked(bytes.into()).await.is_err());
        }
    }
}
