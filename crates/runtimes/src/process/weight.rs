//! What a site's workers weigh for processor time: less while one of them keeps a processor busy.
//!
//! Who uses little must not wait for who uses much: a call of some milliseconds comes first, and what
//! works on for longer gets all that is left. Must never take a site's time away where nobody else wants it.

use parking_lot::Mutex;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

/// How a group is told what it weighs.
#[derive(Debug)]
pub(super) struct Scale {
    /// The kernel's file.
    pub(super) file: PathBuf,
    pub(super) usual: &'static str,
    pub(super) less: &'static str,
}

/// The weight of one site's workers; none where there are no groups that share processor time.
#[derive(Debug, Default)]
pub(super) struct Weight {
    scale: Option<Scale>,
    /// Workers that keep a processor busy.
    heavy: Mutex<usize>,
}

/// A worker that keeps a processor busy, until this is dropped.
#[derive(Debug)]
pub(super) struct Heavy(Arc<Weight>);

impl Weight {
    pub(super) fn new(scale: Option<Scale>) -> Arc<Self> {
        let heavy = Mutex::default();
        Arc::new(Self { scale, heavy })
    }

    /// One of them keeps a processor busy.
    pub(super) fn heavy(self: &Arc<Self>) -> Heavy {
        let mut heavy = self.heavy.lock();
        *heavy += 1;
        if *heavy == 1 {
            self.write(|scale| scale.less);
        }
        Heavy(Arc::clone(self))
    }

    fn write(&self, what: impl FnOnce(&Scale) -> &'static str) {
        if let Some(scale) = &self.scale {
            // It may be gone, with all that was in it.
            let _ = fs::write(&scale.file, what(scale));
        }
    }
}

impl Drop for Heavy {
    fn drop(&mut self) {
        let mut heavy = self.0.heavy.lock();
        *heavy -= 1;
        if *heavy == 0 {
            self.0.write(|scale| scale.usual);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_weighs_less_as_long_as_one_of_its_workers_is_busy() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cpu.weight");
        let (usual, less) = ("100", "3");
        let weight = Weight::new(Some(Scale {
            file: file.clone(),
            usual,
            less,
        }));
        let read = || fs::read_to_string(&file).unwrap_or_default();
        let one = weight.heavy();
        assert_eq!(read(), less);
        let other = weight.heavy();
        drop(one);
        assert_eq!(read(), less);
        drop(other);
        assert_eq!(read(), usual);
        drop(weight.heavy());
        assert_eq!(read(), usual);
        // Where there are no groups nothing is told.
        drop(Weight::new(None).heavy());
    }
}
