//! The data folder and the files in it: this process's user's own, and nobody else's to write.
//!
//! Whoever can write to the folder can put another database or key in the place of ours, so such a folder is refused.
//! Nothing here may follow a symbolic link in the folder, or open what somebody else has put there.

use rustix::fs::OFlags;
use rustix::process::geteuid;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

/// Others may write.
const WRITABLE: u32 = 0o022;
/// Everybody may write.
const BY_EVERYBODY: u32 = 0o002;
/// Of a folder: only the owner of an entry may replace it.
const STICKY: u32 = 0o1000;
/// Whom the kernel names where it knows no name, for example in a container.
const NOBODY: u32 = 65534;

/// Why a data folder, or a file in it, is not to be trusted.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Others than its owner may write to it.
    #[error(
        "{} can be written by others (mode {mode:04o}), who could take over this server; run `chmod {} {}`",
        path.display(), if *folder { "700" } else { "600" }, path.display()
    )]
    Shared {
        /// The folder or file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// Whether it is a folder.
        folder: bool,
    },
    /// It is another user's.
    #[error(
        "{} belongs to user {owner}, and this process is user {user}; run it as user {owner}, or \
         `chown -R {user} {}`",
        path.display(), path.display()
    )]
    Foreign {
        /// The folder or file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who this process is.
        user: u32,
    },
    /// Everybody may put something else in its place.
    #[error(
        "everybody can write to {} (mode {mode:04o}) and put another folder in the place of {}; run \
         `chmod o-w {}`, or use another --data-dir",
        parent.display(), folder.display(), parent.display()
    )]
    Replaceable {
        /// The data folder.
        folder: PathBuf,
        /// A folder above it.
        parent: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A symbolic link where only the thing itself may be.
    #[error("{} is a symbolic link, which is not followed; put the {what} itself there", path.display())]
    Link {
        /// The link.
        path: PathBuf,
        /// What should be there.
        what: &'static str,
    },
    /// Something else than a folder or a file.
    #[error("{} is no {what}; remove it, or use another --data-dir", path.display())]
    Other {
        /// The thing.
        path: PathBuf,
        /// What should be there.
        what: &'static str,
    },
    /// The operating system said no.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError::Io { path, source }
}

/// Makes a data folder, for its owner only, unless it is there, and makes sure that nobody else can write to it.
///
/// # Errors
/// [`FolderError`].
pub fn secure(folder: &Path) -> Result<(), FolderError> {
    match fs::symlink_metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(io_error(folder))?,
        Err(error) => return Err(io_error(folder)(error)),
        Ok(_) => {}
    }
    check(folder)
}

/// Makes sure that nobody else can write to a data folder that is there.
///
/// # Errors
/// [`FolderError`].
pub fn check(folder: &Path) -> Result<(), FolderError> {
    let user = geteuid().as_raw();
    links_are_ours(folder, user)?;
    let real = fs::canonicalize(folder).map_err(io_error(folder))?;
    let found = fs::metadata(&real).map_err(io_error(folder))?;
    if !found.is_dir() {
        return Err(FolderError::Other {
            path: folder.to_owned(),
            what: "folder",
        });
    }
    is_ours(folder, &found, user)?;
    is_not_shared(folder, &found)?;
    for parent in real.ancestors().skip(1) {
        let found = fs::metadata(parent).map_err(io_error(parent))?;
        let mode = found.mode() & 0o7777;
        if mode & STICKY != 0 {
            continue;
        }
        if mode & BY_EVERYBODY != 0 {
            let (folder, parent) = (folder.to_owned(), parent.to_owned());
            return Err(FolderError::Replaceable {
                folder,
                parent,
                mode,
            });
        }
        if ![0, user, NOBODY].contains(&found.uid()) {
            tracing::warn!(
                "{} belongs to user {}, who can put another folder in the place of the data folder",
                parent.display(),
                found.uid()
            );
        }
    }
    Ok(())
}

/// A link on the way to the folder leads where its owner wants.
fn links_are_ours(folder: &Path, user: u32) -> Result<(), FolderError> {
    let whole = std::path::absolute(folder).map_err(io_error(folder))?;
    for part in whole.ancestors() {
        let found = fs::symlink_metadata(part).map_err(io_error(part))?;
        if found.is_symlink() && ![0, user, NOBODY].contains(&found.uid()) {
            let (path, owner) = (part.to_owned(), found.uid());
            return Err(FolderError::Foreign { path, owner, user });
        }
    }
    Ok(())
}

fn is_ours(path: &Path, found: &Metadata, user: u32) -> Result<(), FolderError> {
    let owner = found.uid();
    if owner == user {
        return Ok(());
    }
    let path = path.to_owned();
    Err(FolderError::Foreign { path, owner, user })
}

fn is_not_shared(path: &Path, found: &Metadata) -> Result<(), FolderError> {
    let mode = found.mode() & 0o7777;
    if mode & WRITABLE == 0 {
        return Ok(());
    }
    let (path, folder) = (path.to_owned(), found.is_dir());
    Err(FolderError::Shared { path, mode, folder })
}

/// Opens a file of the folder for reading and writing, or makes it, for its owner only.
///
/// # Errors
/// [`FolderError`].
pub fn open_private(path: &Path) -> Result<File, FolderError> {
    loop {
        if let Some(file) = open(path, OpenOptions::new().read(true).write(true))? {
            return Ok(file);
        }
        match create_private(path) {
            // Somebody was faster: then it is there.
            Err(FolderError::Io { source, .. })
                if source.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made,
        }
    }
}

/// Makes a file that only its owner may read, where none was.
///
/// # Errors
/// [`FolderError`].
pub fn create_private(path: &Path) -> Result<File, FolderError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(flags())
        .open(path)
        .map_err(io_error(path))
}

/// Reads a file of the folder; none when there is none.
///
/// # Errors
/// [`FolderError`].
pub fn read_private(path: &Path) -> Result<Option<Vec<u8>>, FolderError> {
    let Some(mut file) = open(path, OpenOptions::new().read(true))? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(io_error(path))?;
    Ok(Some(bytes))
}

/// Writes a file that only its owner can read, whole or not at all.
///
/// # Errors
/// [`FolderError`].
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), FolderError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = path.with_file_name(name);
    // What a crash has left, or somebody has put there: the name alone is removed.
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io_error(&fresh)(error));
        }
        _ => {}
    }
    let mut file = create_private(&fresh)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(io_error(&fresh))?;
    fs::rename(&fresh, path).map_err(io_error(path))?;
    match path.parent() {
        Some(folder) => sync_folder(folder),
        None => Ok(()),
    }
}

/// Makes the names in a folder as durable as what they name.
///
/// # Errors
/// [`FolderError`].
pub fn sync_folder(folder: &Path) -> Result<(), FolderError> {
    // An empty path is the current folder's.
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(io_error(folder))
}

/// Makes sure that a file, if it is there, is ours; what SQLite keeps beside the database it opens itself.
pub(crate) fn check_file(path: &Path) -> Result<(), FolderError> {
    open(path, OpenOptions::new().read(true)).map(drop)
}

fn flags() -> i32 {
    // Without waiting: a pipe in the place of a file must not hold us up.
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    flags.bits().cast_signed()
}

/// Opens what is there, if it is our own file and nobody else may write to it. What others may read is closed to them.
fn open(path: &Path, options: &mut OpenOptions) -> Result<Option<File>, FolderError> {
    let file = match options.custom_flags(flags()).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(FolderError::Link {
                path: path.to_owned(),
                what: "file",
            });
        }
        Err(error) => return Err(io_error(path)(error)),
    };
    let found = file.metadata().map_err(io_error(path))?;
    if !found.is_file() {
        return Err(FolderError::Other {
            path: path.to_owned(),
            what: "file",
        });
    }
    let user = geteuid().as_raw();
    // Root may read what the server's user keeps: it talks to that user's server.
    if user != 0 || found.uid() == user {
        is_ours(path, &found, user)?;
    }
    is_not_shared(path, &found)?;
    if found.mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))
            .map_err(io_error(path))?;
        tracing::warn!(
            "{} could be read by others (mode {:04o}) and is now its owner's only; if it is a key that \
             somebody may have read, replace it",
            path.display(),
            found.mode() & 0o7777
        );
    }
    Ok(Some(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{chown, symlink};

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn refused(folder: &Path) -> String {
        secure(folder).unwrap_err().to_string()
    }

    #[test]
    fn a_new_folder_is_its_owners_only() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("a/b/data");
        secure(&folder).unwrap();
        for part in [&folder, folder.parent().unwrap()] {
            assert_eq!(fs::metadata(part).unwrap().mode() & 0o7777, 0o700);
        }
        secure(&folder).unwrap();
        mode(&folder, 0o755);
        secure(&folder).unwrap();
    }

    #[test]
    fn a_folder_that_others_can_write_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("data");
        secure(&folder).unwrap();
        for wide in [0o770, 0o722, 0o777, 0o1777, 0o702] {
            mode(&folder, wide);
            let error = refused(&folder);
            assert!(error.contains(&format!("mode {wide:04o}")), "{error}");
            assert!(
                error.contains(&format!("chmod 700 {}", folder.display())),
                "{error}"
            );
        }
    }

    #[test]
    fn a_folder_that_others_can_replace_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("data");
        secure(&folder).unwrap();
        mode(place.path(), 0o777);
        let error = refused(&folder);
        assert!(error.contains("chmod o-w"), "{error}");
        // As /tmp is: everybody may add something, and only owners may replace.
        mode(place.path(), 0o1777);
        secure(&folder).unwrap();
    }

    #[test]
    fn what_is_no_folder_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(refused(&file).contains("is no folder"));
        let link = place.path().join("link");
        symlink(place.path().join("nowhere"), &link).unwrap();
        assert!(refused(&link).contains("cannot use"));
    }

    #[test]
    fn somebody_elses_folder_is_refused() {
        if !geteuid().is_root() {
            eprintln!("SKIPPED: giving a folder to somebody else needs root");
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("data");
        secure(&folder).unwrap();
        chown(&folder, Some(4711), None).unwrap();
        let error = refused(&folder);
        assert!(error.contains("belongs to user 4711"), "{error}");
        chown(&folder, Some(0), None).unwrap();
        let link = place.path().join("link");
        symlink(&folder, &link).unwrap();
        secure(&link).unwrap();
        std::os::unix::fs::lchown(&link, Some(4711), None).unwrap();
        assert!(refused(&link).contains("belongs to user 4711"));
    }

    #[test]
    fn links_and_pipes_in_place_of_files_are_refused() {
        let place = tempfile::tempdir().unwrap();
        let (target, link) = (place.path().join("target"), place.path().join("key"));
        fs::write(&target, "old").unwrap();
        symlink(&target, &link).unwrap();
        for error in [
            open_private(&link).map(drop).unwrap_err(),
            read_private(&link).map(drop).unwrap_err(),
        ] {
            assert!(error.to_string().contains("is a symbolic link"), "{error}");
        }
        create_private(&link).unwrap_err();
        // What was in the way of a new file is put aside, and what it pointed at stays as it was.
        symlink(&target, place.path().join("jwt.key.new")).unwrap();
        write_private(&place.path().join("jwt.key"), b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"old");
        let pipe = place.path().join("pipe");
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        assert!(
            read_private(&pipe)
                .unwrap_err()
                .to_string()
                .contains("is no file")
        );
    }

    #[test]
    fn files_are_their_owners_only() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("key");
        write_private(&file, b"x").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
        mode(&file, 0o644);
        assert_eq!(read_private(&file).unwrap().unwrap(), b"x");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
        mode(&file, 0o666);
        let error = read_private(&file).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
        assert_eq!(read_private(&place.path().join("none")).unwrap(), None);
    }
}
