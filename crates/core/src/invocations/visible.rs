//! Which records somebody may see, and how much of them.

use super::{AttemptRecord, Invocation, RecordedVerdict, Trigger, VerdictKind};
use crate::error::Error;
use crate::ids::AppId;
use crate::json::JsonText;
use crate::ports::store::Page;
use crate::ports::store::Visibility;
use crate::rights::{Permission, Principal};
use crate::tasks::{Failure, FailureKind};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Which records a reader of invocations sees: one's own, and those of the apps in which a role says
/// so. None means all.
pub(super) fn readable_by(principal: &Principal) -> Option<Visibility> {
    let right = Permission::InvocationsRead;
    (!principal.may(right, None)).then(|| Visibility {
        user: principal.user_id(),
        own_in: own_in(principal),
        apps: principal.apps_with(right),
    })
}

/// The app to which a function's view of its caller's own runs is confined.
pub(super) fn own_in(principal: &Principal) -> Option<AppId> {
    principal.ceilings().last().map(|ceiling| ceiling.app)
}

/// What was found, if the caller may see it; `what` names it if not.
pub(crate) fn visible(
    principal: &Principal,
    found: Option<Invocation>,
    what: &str,
) -> Result<Invocation, Error> {
    let visible = found.filter(|it| {
        let of_own = principal
            .user_id()
            .is_some_and(|me| it.user_id == Some(me) || it.behalf.asker == Some(me));
        let in_reach = own_in(principal).is_none_or(|app| app == it.app_id);
        (of_own && in_reach) || principal.may(Permission::InvocationsRead, Some(it.app_id))
    });
    visible.ok_or_else(|| Error::NotFound(what.to_owned()))
}

/// What `principal` is shown of a record: the inside of the run, which is logs, traceback, worker and
/// what it was given, only with `invocations.read` in its app; why a filter could not be evaluated, only
/// with `events.subscribe`, as the filter itself. What somebody gave themselves, by a call
/// from outside, is theirs.
pub(super) fn shown(principal: &Principal, mut invocation: Invocation) -> Invocation {
    if !principal.may(Permission::EventsSubscribe, Some(invocation.app_id)) {
        without_filters(&mut invocation);
    }
    if principal.may(Permission::InvocationsRead, Some(invocation.app_id)) {
        return invocation;
    }
    without_reason(&mut invocation);
    let gave_it = invocation.trigger == Trigger::Api
        && invocation.chain.depth() == 0
        && invocation.user_id == principal.user_id();
    let earlier = invocation.earlier.into_iter();
    Invocation {
        params: match gave_it {
            true => invocation.params,
            false => JsonText::from(&serde_json::json!({})),
        },
        request: invocation.request.filter(|_| gave_it),
        failure: invocation.failure.map(without_traceback),
        logs: Vec::new(),
        worker: None,
        holder: None,
        earlier: earlier
            .map(|attempt| AttemptRecord {
                failure: attempt.failure.map(without_traceback),
                logs: Vec::new(),
                worker: None,
                ..attempt
            })
            .collect(),
        ..invocation
    }
}

/// Where a function had something for end users to read, its reason is for the log.
fn without_reason(invocation: &mut Invocation) {
    #[derive(Deserialize, Serialize)]
    struct Told<'a> {
        #[serde(borrow)]
        success: &'a RawValue,
        #[serde(borrow)]
        user_message: &'a RawValue,
    }
    let denied = |it: &RecordedVerdict| it.kind == VerdictKind::Deny;
    let Some(verdict) = invocation.verdict.as_mut().filter(|it| denied(it)) else {
        return;
    };
    let result = invocation.result.as_ref();
    let told = result.and_then(|result| result.read::<Told<'_>>().ok());
    if let Some(told) = told.filter(|told| told.user_message.get() != "null") {
        verdict.message = None;
        invocation.result = JsonText::of(&told).ok();
    }
}

/// Takes away what tells of the contents of a filter.
fn without_filters(invocation: &mut Invocation) {
    let earlier = invocation.earlier.iter_mut();
    let failures = earlier.filter_map(|attempt| attempt.failure.as_mut());
    for failure in failures.chain(invocation.failure.as_mut()) {
        if failure.kind == FailureKind::Filter {
            failure.traceback = None;
        }
    }
}

fn without_traceback(failure: Failure) -> Failure {
    Failure {
        traceback: None,
        ..failure
    }
}

/// The same for each of a page.
pub(super) fn shown_page(principal: &Principal, page: Page<Invocation>) -> Page<Invocation> {
    let items = page.items.into_iter();
    Page {
        items: items.map(|it| shown(principal, it)).collect(),
        total: page.total,
    }
}
