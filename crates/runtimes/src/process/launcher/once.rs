//! Lets a new worker run one program, once.
//!
//! A filter has the kernel ask whoever holds its listener about each program that is to be run. The worker hands the
//! listener to the nursery, which answers one question and hangs up: from then on nobody is there to be asked, and
//! every further one is refused. The worker must not keep the listener: it could answer itself.

use super::namespaces::check;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::time::Duration;

/// How long a new process may take until it runs its program.
const LIMIT: Duration = Duration::from_secs(5);

/// Has the nursery, at the other end of `line`, asked before this process runs a program.
pub(super) fn ask(line: BorrowedFd<'_>) -> io::Result<()> {
    let listener = listen()?;
    let handed = [listener.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&handed));
    rustix::net::sendmsg(
        line,
        &[IoSlice::new(b"?")],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// Puts up the filter. Its listener.
#[expect(unsafe_code, reason = "the crate knows no listeners")]
fn listen() -> io::Result<OwnedFd> {
    let step = |code: u32, jt, jf, k| libc::sock_filter {
        code: u16::try_from(code).unwrap_or_default(),
        jt,
        jf,
        k,
    };
    let call = u32::try_from(libc::SYS_execve).map_err(io::Error::other)?;
    // The number of the call stands first. Another architecture's means nothing here: the other filter ends it.
    let mut steps = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, call),
        step(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_USER_NOTIF,
        ),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: 4,
        filter: steps.as_mut_ptr(),
    };
    // SAFETY: the kernel reads the program, which outlives the call, and gives a new descriptor.
    unsafe {
        let made = libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        );
        let made = RawFd::try_from(made).unwrap_or(-1);
        check(made)?;
        Ok(OwnedFd::from_raw_fd(made))
    }
}

/// Answers the first question of the process at the other end of `line`, and no other. `word` is where it says why
/// it asks none.
///
/// # Errors
/// When there is no question.
pub(super) fn permit(line: OwnedFd, word: BorrowedFd<'_>) -> io::Result<()> {
    let listener = receive(&line)?;
    let mut polled = [
        PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN),
        PollFd::from_borrowed_fd(word, PollFlags::IN),
    ];
    let limit = Timespec::try_from(LIMIT).ok();
    rustix::event::poll(&mut polled, limit.as_ref())?;
    if !polled[0].revents().contains(PollFlags::IN) {
        return Err(io::Error::other("it did not come to its program"));
    }
    answer(&listener)
}

#[expect(unsafe_code, reason = "these requests have no safe wrapper")]
fn answer(listener: &OwnedFd) -> io::Result<()> {
    // SAFETY: both structures are plain numbers, of the size that the requests are made of, and outlive the calls.
    unsafe {
        let mut question: libc::seccomp_notif = std::mem::zeroed();
        check(libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_RECV,
            &raw mut question,
        ))?;
        let mut answer: libc::seccomp_notif_resp = std::mem::zeroed();
        answer.id = question.id;
        answer.flags = u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap_or_default();
        check(libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SEND,
            &raw mut answer,
        ))
    }
}

fn receive(line: &OwnedFd) -> io::Result<OwnedFd> {
    let mut buffer = [0_u8; 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    rustix::net::recvmsg(
        line,
        &mut [IoSliceMut::new(&mut buffer)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut handed = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    handed
        .next()
        .ok_or_else(|| io::Error::other("it ended before its walls stood"))
}
