use super::*;
use tollgate_core::functions::{FunctionOptions, Source};
use tollgate_core::ids::AppId;
use tollgate_testkit::clock::ManualClock;

fn version(number: i64) -> Executable {
    Executable {
        site_id: SiteId(1),
        site_slug: "default".into(),
        app_id: AppId(1),
        app_slug: "crm".into(),
        function_id: FunctionId(5),
        function_name: "Hook".into(),
        function_slug: "hook".into(),
        version_id: VersionId(number),
        version: 1,
        source: Source::System,
        acts_as: tollgate_core::rights::ActsAs::default(),
        egress_hosts: tollgate_core::egress::EgressHosts::default(),
        in_force: std::sync::Arc::default(),
        options: FunctionOptions::default(),
    }
}

fn breakers() -> (Breakers, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    (Breakers::new(Arc::clone(&clock) as Arc<dyn Clock>), clock)
}

fn fail(breakers: &Breakers, times: u32) {
    for _ in 0..times {
        breakers.enter(&version(1)).ok().unwrap().failed();
    }
}

fn left_alone(breakers: &Breakers) -> LeftAlone {
    breakers.enter(&version(1)).err().unwrap()
}

#[test]
fn some_failures_in_a_row_open_it_and_one_answer_closes_it() {
    let (breakers, clock) = breakers();
    fail(&breakers, limits::CIRCUIT_FAILURES - 1);
    breakers.enter(&version(1)).ok().unwrap().answered();
    fail(&breakers, limits::CIRCUIT_FAILURES - 1);
    assert_eq!(breakers.state(&version(1)).circuit, Circuit::Closed);
    fail(&breakers, 1);
    let until = clock.now().plus(limits::CIRCUIT_PAUSE);
    let state = WebhookState {
        circuit: Circuit::Open { until },
        failures: limits::CIRCUIT_FAILURES,
    };
    assert_eq!((breakers.state(&version(1)), breakers.open()), (state, 1));
    clock.advance(limits::CIRCUIT_PAUSE / 2);
    let refused = left_alone(&breakers);
    assert_eq!(
        (refused.wait, refused.until),
        (limits::CIRCUIT_PAUSE / 2, until)
    );
    clock.advance(limits::CIRCUIT_PAUSE / 2);
    assert_eq!(breakers.state(&version(1)).circuit, Circuit::HalfOpen);
    let probe = breakers.enter(&version(1)).ok().unwrap();
    assert_eq!(left_alone(&breakers).wait, limits::CIRCUIT_PAUSE);
    probe.answered();
    assert_eq!(
        (breakers.state(&version(1)).failures, breakers.open()),
        (0, 0)
    );
    assert!(breakers.list.lock().is_empty());
}

#[test]
fn pauses_grow_up_to_the_limit() {
    let (breakers, clock) = breakers();
    fail(&breakers, limits::CIRCUIT_FAILURES);
    let mut expected = limits::CIRCUIT_PAUSE;
    for _ in 0..10 {
        assert_eq!(left_alone(&breakers).wait, expected);
        clock.advance(expected);
        fail(&breakers, 1);
        expected = (expected * 2).min(limits::CIRCUIT_PAUSE_MAX);
    }
    assert_eq!(expected, limits::CIRCUIT_PAUSE_MAX);
}

#[test]
fn a_probe_that_is_given_up_leaves_its_place_to_the_next() {
    let (breakers, clock) = breakers();
    fail(&breakers, limits::CIRCUIT_FAILURES);
    clock.advance(limits::CIRCUIT_PAUSE);
    drop(breakers.enter(&version(1)));
    let probe = breakers.enter(&version(1)).ok().unwrap();
    assert!(probe.probe);
    // A call from before that ends now decides nothing.
    breakers.failed(key(&version(1)), false);
    assert_eq!(breakers.state(&version(1)).circuit, Circuit::HalfOpen);
    probe.failed();
    assert_eq!(left_alone(&breakers).wait, limits::CIRCUIT_PAUSE * 2);
}

#[test]
fn another_version_begins_afresh() {
    let (breakers, _) = breakers();
    fail(&breakers, limits::CIRCUIT_FAILURES);
    assert!(breakers.enter(&version(2)).is_ok());
    breakers.retire(SiteId(2), FunctionId(5), None);
    breakers.retire(SiteId(1), FunctionId(5), Some(VersionId(1)));
    assert!(breakers.enter(&version(1)).is_err());
    breakers.retire(SiteId(1), FunctionId(5), Some(VersionId(2)));
    assert!(breakers.enter(&version(1)).is_ok());
}
