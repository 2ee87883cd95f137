//! What a worker sends, which may be hostile: frames, what is taken from them, and a journal with
//! anything in it. Whatever comes, the limits hold and nothing panics.
#![no_main]

#[path = "../../crates/runtimes/src/process/frames.rs"]
#[allow(dead_code, reason = "a part of it is enough")]
mod frames;
#[path = "../../crates/runtimes/src/process/journal.rs"]
#[allow(dead_code, reason = "a part of it is enough")]
mod journal;
#[path = "../../crates/runtimes/src/process/protocol.rs"]
#[allow(dead_code, reason = "a part of it is enough")]
mod protocol;
#[path = "../../crates/runtimes/src/results.rs"]
#[allow(dead_code, reason = "a part of it is enough")]
mod results;

use frames::{Inbox, read_frame, reading};
use journal::Journal;
use libfuzzer_sys::fuzz_target;
use protocol::{Checked, Incoming};
use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use tollgate_core::invocations::LogLine;
use tollgate_core::limits;
use tollgate_core::room::Room;

/// For its clock: a frame that stalls is given up.
static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.expect("a runtime")
});

fuzz_target!(|data: &[u8]| {
    let _inside = RUNTIME.enter();
    let room = Room::new(limits::FRAMES_BYTES);
    let mut inbox = Inbox::default();
    let mut stream = data;
    {
        let admit = reading(&room);
        let mut frame = pin!(read_frame(&mut stream, &mut inbox, &admit));
        // Bytes in memory are there at once.
        let Poll::Ready(read) = frame.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("it waits for bytes that are there");
        };
        if let Ok(frame) = read {
            assert!(frame.body.len() + 4 <= data.len());
            message(frame.body);
        }
    }
    assert!(
        inbox.capacity() <= 2 * data.len() + 8192,
        "it takes what is announced"
    );
    message(data);
    bounded(&journal_of(data).read());
});

/// What a worker may leave in the memory that it shares with the server.
fn journal_of(data: &[u8]) -> Journal {
    let journal = Journal::new().expect("memory");
    let [lines, out, err] = journal.descriptors().expect("descriptors");
    let (whole, half) = (data, &data[data.len() / 2..]);
    for (memory, at, bytes) in [
        (&lines, 0, whole),
        // Where the two unfinished lines are.
        (&lines, 252 * 1024, half),
        (&lines, 254 * 1024, whole),
        (&out, 0, whole),
        (&err, 0, half),
    ] {
        // What has no room is cut off; it never grows.
        let _ = rustix::io::pwrite(memory, bytes, at);
    }
    journal
}

fn message(body: &[u8]) {
    if let Ok(mut incoming) = serde_json::from_slice::<Incoming<'_>>(body) {
        bounded(&incoming.take_logs().unwrap_or_default());
        if let Ok(result) = incoming.take_result() {
            assert!(result.as_str().len() <= limits::RESULT_BYTES);
            let read = serde_json::from_str::<serde_json::Value>(result.as_str());
            read.expect("a result can be read by everybody");
        }
        if let Some(failure) = incoming.failure.take() {
            let failure = failure.into_failure();
            assert!(failure.message.len() <= limits::ERROR_BYTES);
            assert!(
                failure
                    .traceback
                    .is_none_or(|it| it.len() <= limits::ERROR_BYTES)
            );
        }
    }
    let _ = serde_json::from_slice::<Checked>(body);
}

fn bounded(lines: &[LogLine]) {
    assert!(lines.len() <= limits::LOG_LINES + 1);
    let bytes: usize = lines.iter().map(|line| line.message.len()).sum();
    assert!(bytes <= limits::LOG_BYTES + 256);
}
