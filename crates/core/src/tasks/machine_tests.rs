use super::*;

fn task(state: State, attempt: u32, waiter: Waiter) -> Task {
    Task {
        state,
        held: state == State::Running,
        attempt,
        uncounted: 0,
        max_attempts: 3,
        waiter,
    }
}

fn fail(kind: FailureKind) -> Input {
    Input::Fail(kind)
}

#[test]
fn every_state_and_input_is_decided() {
    use State::{Cancelled, Dead, Failed, Pending, Retrying, Running, Succeeded, TimedOut};
    // Rows: state before, and whether it is held; columns: the inputs. `None` is refused.
    let ends = [
        Some(Succeeded),
        Some(Retrying),
        Some(Pending),
        Some(Pending),
    ];
    let [done, again, back, lost] = ends;
    let table = [
        (
            (Pending, false),
            [Some(Pending), None, None, None, None, None, None, None],
        ),
        (
            (Pending, true),
            [None, Some(Running), done, again, back, lost, None, None],
        ),
        (
            (Running, true),
            [None, None, done, again, back, lost, None, None],
        ),
        (
            (Retrying, false),
            [Some(Pending), None, None, None, None, None, None, None],
        ),
        ((Succeeded, false), [None; 8]),
        ((Failed, false), [None; 8]),
        ((TimedOut, false), [None; 8]),
        ((Cancelled, false), [None; 8]),
        (
            (Dead, false),
            [
                None,
                None,
                None,
                None,
                None,
                None,
                Some(Pending),
                Some(Failed),
            ],
        ),
    ];
    let inputs = [
        Input::Take,
        Input::Start,
        Input::Succeed,
        fail(FailureKind::Exception),
        Input::Release,
        Input::Lose,
        Input::Redrive,
        Input::Discard,
    ];
    for ((before, held), row) in table {
        for (input, expected) in inputs.iter().zip(row) {
            let task = Task {
                held,
                ..task(before, 1, Waiter::Nobody)
            };
            let after = task.apply(*input);
            let state = after.as_ref().ok().map(|task| task.state);
            assert_eq!(state, expected, "{before} after {input:?}");
            let keeps = matches!(input, Input::Take | Input::Start);
            assert!(after.is_err() || after.is_ok_and(|task| task.held == keeps));
        }
    }
}

/// A worker takes it and begins.
fn begun(task: Task) -> Task {
    let taken = task.apply(Input::Take).unwrap();
    taken.apply(Input::Start).unwrap()
}

#[test]
fn what_had_not_begun_goes_back_as_it_was() {
    for input in [Input::Lose, Input::Release] {
        let before = Task {
            uncounted: crate::limits::UNCOUNTED_MAX - 1,
            ..task(State::Pending, 7, Waiter::Nobody)
        };
        let taken = before.apply(Input::Take).unwrap();
        assert_eq!((taken.state, taken.attempt), (State::Pending, 8));
        assert_eq!(taken.apply(input).unwrap(), before);
    }
}

#[test]
fn what_the_server_could_not_run_costs_no_attempt_until_it_was_too_often() {
    let mut task = Task {
        max_attempts: 1,
        ..task(State::Pending, 0, Waiter::Nobody)
    };
    for uncounted in 1..=crate::limits::UNCOUNTED_MAX {
        let taken = task.apply(Input::Take).unwrap();
        let next = taken.apply(fail(FailureKind::Unavailable)).unwrap();
        let state = match uncounted == crate::limits::UNCOUNTED_MAX {
            false => State::Retrying,
            true => State::Dead,
        };
        assert_eq!((next.state, next.uncounted), (state, uncounted));
        task = next;
    }
    let waited = begun(self::task(State::Pending, 0, Waiter::Caller));
    let failed = waited.apply(fail(FailureKind::Unavailable)).unwrap();
    assert_eq!((failed.state, failed.uncounted), (State::Failed, 0));
}

#[test]
fn a_run_that_is_put_off_costs_no_attempt_until_it_has_happened_too_often() {
    let put_off = fail(FailureKind::CircuitOpen);
    let mut task = task(State::Pending, 0, Waiter::Nobody);
    for lost in 1..=crate::limits::PUT_OFF_MAX {
        task = begun(task);
        let next = task.apply(put_off).unwrap();
        assert_eq!((next.state, next.uncounted), (State::Retrying, lost));
        task = next;
    }
    for state in [State::Retrying, State::Retrying, State::Dead] {
        task = begun(task).apply(put_off).unwrap();
        assert_eq!(
            (task.state, task.uncounted),
            (state, crate::limits::PUT_OFF_MAX)
        );
    }
    let waited_for = begun(self::task(State::Pending, 0, Waiter::Caller));
    let ended = waited_for.apply(put_off).unwrap();
    assert_eq!((ended.state, ended.uncounted), (State::Failed, 0));
}

#[test]
fn a_lost_worker_costs_no_attempt_until_there_are_too_many() {
    let mut task = task(State::Pending, 0, Waiter::Nobody);
    for lost in 1..crate::limits::UNCOUNTED_MAX {
        task = begun(task).apply(Input::Lose).unwrap();
        assert_eq!(
            (task.state, task.attempt, task.uncounted),
            (State::Pending, lost, lost)
        );
    }
    let last = begun(task);
    assert_eq!(last.apply(Input::Lose).unwrap().state, State::Dead);
    // All its attempts are still there.
    let failed = last.apply(fail(FailureKind::Exception)).unwrap();
    assert_eq!(failed.state, State::Retrying);
    let waited = Task {
        waiter: Waiter::Caller,
        ..last
    };
    assert_eq!(waited.apply(Input::Lose).unwrap().state, State::Cancelled);
    assert!(failed.apply(Input::Lose).is_err());
}

#[test]
fn attempts_run_out_into_a_dead_letter() {
    let mut task = task(State::Pending, 0, Waiter::Nobody);
    for attempt in 1..=3 {
        task = begun(task);
        assert_eq!(task.attempt, attempt);
        task = task.apply(fail(FailureKind::Crashed)).unwrap();
    }
    assert_eq!(task.state, State::Dead);
    let task = task.apply(Input::Redrive).unwrap();
    assert_eq!((task.state, task.attempt), (State::Pending, 0));
}

#[test]
fn a_permanent_failure_is_not_repeated() {
    let running = task(State::Running, 1, Waiter::Nobody);
    assert_eq!(
        running.apply(fail(FailureKind::NotJson)).unwrap().state,
        State::Dead
    );
    assert_eq!(
        running.apply(fail(FailureKind::Deleted)).unwrap().state,
        State::Failed
    );
    assert_eq!(
        running.apply(fail(FailureKind::Cancelled)).unwrap().state,
        State::Cancelled
    );
}

#[test]
fn a_waiting_caller_is_told_at_once() {
    let running = task(State::Running, 1, Waiter::Caller);
    assert_eq!(
        running.apply(fail(FailureKind::Exception)).unwrap().state,
        State::Failed
    );
    assert_eq!(
        running.apply(fail(FailureKind::Timeout)).unwrap().state,
        State::TimedOut
    );
    assert_eq!(
        running.apply(Input::Release).unwrap().state,
        State::Cancelled
    );
}

#[test]
fn a_stopped_worker_uses_up_no_attempt_limit() {
    let last = task(State::Running, 3, Waiter::Nobody);
    let released = last.apply(Input::Release).unwrap();
    assert_eq!(released.state, State::Pending);
    assert!(released.apply(Input::Take).is_ok());
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
    let told = |random| retry_delay(1, random, Some(Duration::from_secs(8)));
    assert!(
        (0..2_000_000)
            .step_by(99_991)
            .all(|random| told(random) <= Duration::from_secs(9))
    );
    assert_ne!(told(1), told(2));
    assert!(retry_delay(1, 0, Some(Duration::MAX)) <= crate::limits::RETRY_MAX);
}
