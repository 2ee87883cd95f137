//! A folder with a function: which of its files belong to it, and where it begins.
//!
//! What `.gitignore` and `.tollgateignore` name stays behind, and so do hidden files, caches and installed packages.
//! Must never follow a link out of the folder.

use super::source::Source;
use crate::AnyError;
use ignore::{DirEntry, WalkBuilder};
use std::path::Path;
use tollgate_core::functions::{Bundle, Entrypoint, Environment};

/// A second list of what stays behind, for those who want to send what git does not keep.
const IGNORED: &str = ".tollgateignore";
/// Folders that hold what is made, not written.
const MADE: [&str; 2] = ["__pycache__", "node_modules"];

/// Files that are sent together.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) bundle: Bundle,
    /// The file with the entry point.
    pub(super) file: String,
}

/// Reads a folder as the source of a function.
pub(super) fn read(path: &Path, entrypoint: Option<&str>) -> Result<Source, AnyError> {
    let name = path.display().to_string();
    let entrypoint: Entrypoint = match entrypoint {
        Some(text) => text
            .parse()
            .map_err(|why| format!("--entrypoint {text:?}: {why}"))?,
        None => Entrypoint::default(),
    };
    let bundle = bundle(path)?;
    let languages = [Environment::Python, Environment::Node];
    let found = languages
        .into_iter()
        .find_map(|it| Some((it, entrypoint.file(it, &bundle)?.to_owned())));
    let Some((environment, file)) = found else {
        return Err(format!(
            "{name} has no {}.py, nor the like in JavaScript, for the entry point {entrypoint}; name another one with --entrypoint \
             module:function",
            entrypoint.module().replace('.', "/")
        )
        .into());
    };
    let text = bundle.file(&file).unwrap_or_default().to_vec();
    let shown = path.join(&file).display().to_string();
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    Ok(Source {
        text: super::source::decode(&shown, text)?,
        stem: whole
            .file_name()
            .map(|stem| stem.to_string_lossy().into_owned()),
        name: shown,
        environment: Some(environment),
        folder: Some(Folder { bundle, file }),
    })
}

fn bundle(path: &Path) -> Result<Bundle, AnyError> {
    let mut bundle = Bundle::default();
    let walk = WalkBuilder::new(path)
        .require_git(false)
        .git_global(false)
        .parents(false)
        .add_custom_ignore_filename(IGNORED)
        .filter_entry(belongs)
        .sort_by_file_name(Ord::cmp)
        .build();
    for entry in walk {
        let entry = entry?;
        let shown = entry.path().display();
        let kind = entry.file_type();
        if kind.is_some_and(|kind| kind.is_symlink()) {
            return Err(format!(
                "{shown} is a link, which is not followed; put the file itself there, or name the link in {IGNORED}"
            )
            .into());
        }
        if !kind.is_some_and(|kind| kind.is_file()) {
            continue;
        }
        let within = entry.path().strip_prefix(path)?;
        let within = within
            .to_str()
            .ok_or_else(|| format!("{shown}: the name is not UTF-8"))?;
        let content =
            std::fs::read(entry.path()).map_err(|error| format!("cannot read {shown}: {error}"))?;
        bundle.add(within, content)?;
    }
    Ok(bundle)
}

/// Whether something in the folder was written for the function.
fn belongs(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
    if is_folder {
        // A virtual environment has this file, whatever it is called.
        let is_environment = entry.depth() > 0 && entry.path().join("pyvenv.cfg").exists();
        return !is_environment && !MADE.contains(&name.as_ref());
    }
    !name.ends_with(".pyc")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        folder
    }

    #[test]
    fn what_was_written_for_the_function_is_sent_and_nothing_else() {
        let folder = folder(&[
            ("main.py", "def main(p): pass\n"),
            ("lib/texts.py", "x = 1\n"),
            ("templates/mail.txt", "Dear"),
            ("dist/made.txt", "m"),
            (".env", "SECRET=1"),
            (".git/config", "x"),
            (".gitignore", "secret.txt\ndist/\n"),
            (".tollgateignore", "tests/\n!dist/\n"),
            ("secret.txt", "x"),
            ("tests/test_main.py", "x"),
            ("lib/__pycache__/texts.pyc", "x"),
            ("old.pyc", "x"),
            ("node_modules/zod/index.js", "x"),
            ("env/pyvenv.cfg", "x"),
            ("env/lib/x.py", "x"),
        ]);
        let source = read(folder.path(), None).unwrap();
        let sent = source.folder.unwrap();
        let paths: Vec<_> = sent.bundle.files().map(|(path, _)| path).collect();
        let expected = [
            "dist/made.txt",
            "lib/texts.py",
            "main.py",
            "templates/mail.txt",
        ];
        assert_eq!(paths, expected);
        assert_eq!(
            (sent.file.as_str(), source.text.as_str()),
            ("main.py", "def main(p): pass\n")
        );
    }

    #[test]
    fn a_folder_without_its_entry_point_says_what_is_missing() {
        let folder = folder(&[("app.py", "def main(p): pass\n")]);
        let path = folder.path();
        let error = read(path, None).unwrap_err().to_string();
        assert!(error.contains("no main.py"), "{error}");
        let error = read(path, Some("app.hooks:run")).unwrap_err().to_string();
        assert!(error.contains("no app/hooks.py"), "{error}");
        let error = read(path, Some("app")).unwrap_err().to_string();
        assert!(error.contains("module:function"), "{error}");
        assert!(read(path, Some("app:main")).is_ok());
    }

    #[test]
    fn links_are_not_followed() {
        let folder = folder(&[("main.py", "def main(p): pass\n")]);
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("data")).unwrap();
        let error = read(folder.path(), None).unwrap_err().to_string();
        assert!(error.contains("data is a link"), "{error}");
    }
}
