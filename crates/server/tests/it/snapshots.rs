//! Whole-body snapshots. The clock stands still and randomness is seeded, so little is left out.

/// Compares status and body with the stored snapshot.
macro_rules! assert_answer {
    ($answer:expr) => {{
        let whole = $answer.whole();
        insta::with_settings!({snapshot_path => "../snapshots"}, {
            insta::assert_json_snapshot!(whole, {
                ".**.task_id" => "[task_id]",
                ".**.celery_task_id" => "[task_id]",
                ".**.uuid" => "[uuid]",
                ".**.access" => "[token]",
                ".**.refresh" => "[token]",
                ".**.access_token" => "[token]",
                ".**.session_token" => "[token]",
                ".**.key" => "[key]",
            })
        });
    }};
}
pub(crate) use assert_answer;
