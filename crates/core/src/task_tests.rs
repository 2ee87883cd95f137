use super::*;

const AT: Timestamp = Timestamp::from_micros(1_000_000);

fn task(state: State, attempt: u32, waiter: Waiter) -> Task {
    Task {
        state,
        attempt,
        lost: 0,
        max_attempts: 3,
        waiter,
    }
}

fn fail(kind: FailureKind) -> Input {
    Input::Fail {
        kind,
        delay: Duration::from_secs(2),
        at: AT,
    }
}

#[test]
fn every_state_and_input_is_decided() {
    use State::{Cancelled, Dead, Failed, Pending, Retrying, Running, Succeeded, TimedOut};
    // Rows: state before; columns: start, succeed, fail, release, redrive, discard. `None` is
    // refused.
    let table = [
        (
            Pending,
            [Some(Running), None, Some(Retrying), None, None, None],
        ),
        (
            Running,
            [
                None,
                Some(Succeeded),
                Some(Retrying),
                Some(Pending),
                None,
                None,
            ],
        ),
        (
            Retrying,
            [Some(Running), None, Some(Retrying), None, None, None],
        ),
        (Succeeded, [None; 6]),
        (Failed, [None; 6]),
        (TimedOut, [None; 6]),
        (Cancelled, [None; 6]),
        (Dead, [None, None, None, None, Some(Pending), Some(Failed)]),
    ];
    let inputs = [
        Input::Start,
        Input::Succeed,
        fail(FailureKind::Exception),
        Input::Release,
        Input::Redrive,
        Input::Discard,
    ];
    for (before, row) in table {
        for (input, expected) in inputs.iter().zip(row) {
            let after = task(before, 1, Waiter::Nobody)
                .apply(*input)
                .map(|(task, _)| task.state);
            assert_eq!(after.ok(), expected, "{before} after {input:?}");
        }
    }
}

#[test]
fn a_run_that_is_put_off_costs_no_attempt_until_it_has_happened_too_often() {
    let put_off = fail(FailureKind::CircuitOpen);
    let mut task = task(State::Pending, 0, Waiter::Nobody);
    for lost in 1..=crate::limits::PUT_OFF_MAX {
        task = task.apply(Input::Start).unwrap().0;
        let (next, effects) = task.apply(put_off).unwrap();
        assert_eq!((next.state, next.lost), (State::Retrying, lost));
        assert_eq!(effects, [Effect::WakeAt(AT.plus(Duration::from_secs(2)))]);
        task = next;
    }
    for state in [State::Retrying, State::Retrying, State::Dead] {
        task = task.apply(Input::Start).unwrap().0;
        task = task.apply(put_off).unwrap().0;
        assert_eq!((task.state, task.lost), (state, crate::limits::PUT_OFF_MAX));
    }
    let waited_for = self::task(State::Running, 1, Waiter::Caller);
    let (ended, _) = waited_for.apply(put_off).unwrap();
    assert_eq!((ended.state, ended.lost), (State::Failed, 0));
}

#[test]
fn a_lost_worker_costs_no_attempt_until_there_are_too_many() {
    let mut task = task(State::Pending, 0, Waiter::Nobody);
    for lost in 1..crate::limits::LOST_MAX {
        task = task.apply(Input::Start).unwrap().0;
        task = task.apply(Input::Lose).unwrap().0;
        assert_eq!(
            (task.state, task.attempt, task.lost),
            (State::Pending, lost, lost)
        );
    }
    let last = task.apply(Input::Start).unwrap().0;
    assert_eq!(last.apply(Input::Lose).unwrap().0.state, State::Dead);
    // All its attempts are still there.
    let failed = last.apply(fail(FailureKind::Exception)).unwrap().0;
    assert_eq!(failed.state, State::Retrying);
    let waited = Task {
        waiter: Waiter::Caller,
        ..last
    };
    assert_eq!(waited.apply(Input::Lose).unwrap().0.state, State::Cancelled);
    assert!(failed.apply(Input::Lose).is_err());
}

#[test]
fn attempts_run_out_into_a_dead_letter() {
    let mut task = task(State::Pending, 0, Waiter::Nobody);
    for attempt in 1..=3 {
        task = task.apply(Input::Start).unwrap().0;
        assert_eq!(task.attempt, attempt);
        task = task.apply(fail(FailureKind::Crashed)).unwrap().0;
    }
    assert_eq!(task.state, State::Dead);
    let (task, effects) = task.apply(Input::Redrive).unwrap();
    assert_eq!((task.state, task.attempt), (State::Pending, 0));
    assert_eq!(effects, vec![Effect::Wake]);
}

#[test]
fn a_permanent_failure_is_not_repeated() {
    let running = task(State::Running, 1, Waiter::Nobody);
    assert_eq!(
        running.apply(fail(FailureKind::NotJson)).unwrap().0.state,
        State::Dead
    );
    assert_eq!(
        running.apply(fail(FailureKind::Deleted)).unwrap().0.state,
        State::Failed
    );
    assert_eq!(
        running.apply(fail(FailureKind::Cancelled)).unwrap().0.state,
        State::Cancelled
    );
}

#[test]
fn a_waiting_caller_is_told_at_once() {
    let running = task(State::Running, 1, Waiter::Caller);
    assert_eq!(
        running.apply(fail(FailureKind::Exception)).unwrap().0.state,
        State::Failed
    );
    assert_eq!(
        running.apply(fail(FailureKind::Timeout)).unwrap().0.state,
        State::TimedOut
    );
    assert_eq!(
        running.apply(Input::Release).unwrap().0.state,
        State::Cancelled
    );
}

#[test]
fn a_stopped_worker_uses_up_no_attempt_limit() {
    let last = task(State::Running, 3, Waiter::Nobody);
    let (released, effects) = last.apply(Input::Release).unwrap();
    assert_eq!(released.state, State::Pending);
    assert_eq!(effects, vec![Effect::Wake]);
    assert!(released.apply(Input::Start).is_ok());
}

#[test]
fn delays_grow_stay_jittered_and_are_capped() {
    assert_eq!(retry_delay(1, 0, None), Duration::from_millis(500));
    assert_eq!(
        retry_delay(1, u64::MAX, None).max(Duration::from_secs(1)),
        Duration::from_secs(1)
    );
    assert_eq!(retry_delay(3, 0, None), Duration::from_secs(2));
    assert!(retry_delay(400, u64::MAX, None) <= crate::limits::RETRY_MAX);
    assert_eq!(
        retry_delay(1, 0, Some(Duration::from_secs(9))),
        Duration::from_secs(9)
    );
    assert!(retry_delay(1, 0, Some(Duration::MAX)) <= crate::limits::RETRY_MAX);
}
