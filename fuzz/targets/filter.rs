//! Texts of filters: they compile or are refused with a place in the text, and whatever compiles can
//! be asked about an event within bounds.
//!
//! The first line names the event, or anything else for every event; the filter follows, and after
//! a line of three dashes, if there is one, the event's parameters. The sample stands in for them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_core::events::LifecycleEvent as _;
use tollgate_core::filter::{Activation, Filter};
use tollgate_core::json::JsonText;
use tollgate_core::limits;
use tollgate_core::platform;
use tollgate_core::request::RequestInfo;
use tollgate_core::time::Timestamp;
use tollgate_core::users::events::UserCreated;

fuzz_target!(|data: &[u8]| {
    let Some((name, rest)) = std::str::from_utf8(data)
        .ok()
        .and_then(|it| it.split_once('\n'))
    else {
        return;
    };
    let (text, params) = rest.split_once("\n---\n").unwrap_or((rest, ""));
    let catalogue = platform::catalogue();
    let spec = catalogue.find(name).ok();
    let filter = match Filter::compile(text, spec, catalogue.users()) {
        Ok(filter) => filter,
        Err(error) => {
            assert!(error.line > 0 && error.column > 0 && !error.message.is_empty());
            return;
        }
    };
    let specs = spec.map_or(catalogue.specs(), std::slice::from_ref);
    for spec in specs {
        let given = serde_json::from_str(params).ok();
        let given = given.filter(|params| spec.read(params).is_ok());
        let params = given.unwrap_or_else(|| spec.sample());
        let user = JsonText::of(&UserCreated::sample()).expect("a sample has JSON");
        let now = Timestamp::from_micros(1_764_060_000_000_000);
        let request = RequestInfo::sample().written();
        let activation = Activation::new(spec.event, params, request.as_ref(), Some(&user), now);
        let first = filter.matches(&activation);
        if let Err(reason) = &first {
            assert!(!reason.is_empty() && reason.len() <= limits::FILTER_REASON_BYTES);
        }
        assert_eq!(
            first,
            filter.matches(&activation),
            "the same answer each time"
        );
    }
});
