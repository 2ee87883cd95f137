//! What every store must do, as tests: one suite for SQLite, PostgreSQL and whatever comes.
//!
//! A store's crate writes one function that makes an empty store and hands it to
//! [`store_contract!`](crate::store_contract!), which makes one test of each case. A case may ask
//! only for what the port promises, never for how one store happens to do it.

mod alone;
pub mod apps;
pub mod attempts;
pub mod bundles;
pub mod commits;
pub mod credentials;
pub mod dead_letters;
pub mod event_types;
pub mod functions;
pub mod idempotency;
pub mod invocations;
pub mod isolation;
pub mod queue;
pub mod retention;
pub mod secrets;
pub mod sites;
pub mod subscribers;
pub mod users;
pub mod variables;
mod world;

pub use alone::{Alone, UserCommit};
pub use world::{Tenant, TestStore, World, committed, everything};

/// Names every case once: as a plain function that runs all of them, and as a macro that makes a
/// test of each.
macro_rules! contract {
    ($d:tt $($module:ident { $($case:ident),+ $(,)? })+) => {
        /// Runs every case on a store of its own. `make` is given the clock that the store must use.
        pub async fn run_all<F, R>(make: F)
        where
            F: Fn(std::sync::Arc<crate::clock::ManualClock>) -> R,
            R: Future<Output = TestStore>,
        {
            $($($module::$case(World::new(&make).await).await;)+)+
        }

        /// Makes a `#[tokio::test]` of every case, in a module for each part of the port. Takes the
        /// name of an `async fn(Arc<ManualClock>) -> TestStore`.
        #[macro_export]
        macro_rules! store_contract {
            ($d make:ident) => {$(
                mod $module {
                    $(
                        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                        async fn $case() {
                            let world = $crate::store_contract::World::new(&super::$d make).await;
                            $crate::store_contract::$module::$case(world).await;
                        }
                    )+
                }
            )+};
        }
    };
}

contract! { $
    sites {
        sites_are_listed_with_their_domains,
        slugs_and_domains_are_taken_once,
        a_domain_is_added_and_removed,
        ids_are_never_reserved_twice,
        the_vault_check_is_stored_once,
        a_sites_egress_goes_with_its_functions,
        ping_answers,
    }
    apps {
        an_app_is_stored_and_changed,
        app_slugs_are_unique_until_deleted,
        apps_are_paged_by_slug,
        a_deleted_app_takes_its_functions_along,
        an_app_is_deleted_only_as_it_was_seen,
    }
    bundles {
        files_are_kept_under_what_is_in_them,
        files_go_when_no_version_names_them_any_more,
    }
    functions {
        a_function_is_stored_with_version_one,
        function_slugs_are_unique_within_an_app,
        new_code_is_a_new_version,
        an_older_version_can_be_activated,
        a_functions_rights_are_kept,
        permissions_are_for_no_version_before_them,
        deleted_functions_are_found_by_nothing,
        function_ids_are_not_used_again,
        signing_secrets_overlap,
        inactive_functions_are_executable_but_not_claimed,
    }
    variables {
        variables_are_stored_and_the_functions_own_hide_its_apps,
        the_image_changes_with_every_secret_in_force_and_no_other,
        functions_are_found_by_the_secrets_of_their_variables,
    }
    subscribers {
        a_function_subscribes_once_to_each_event,
        of_many_equal_subscriptions_one_is_stored,
        subscriptions_run_by_priority_then_id,
        inactive_functions_are_subscribed_but_not_run,
        options_can_be_changed,
        a_subscription_is_switched_off_and_on,
        a_pre_subscription_is_closed_until_a_person_acts,
        subscriptions_end_with_their_function,
        of_a_type_that_nobody_registers_one_is_read_listed_and_deleted,
    }
    event_types {
        an_event_type_is_stored_and_changed,
        event_types_are_listed_by_app_and_name,
        an_event_type_stays_while_functions_are_subscribed,
        event_types_go_with_their_app,
        event_types_and_their_names_are_bounded,
        event_types_of_another_site_are_out_of_reach,
    }
    users {
        a_user_is_stored_as_given,
        names_are_unique_without_regard_to_case,
        deletion_frees_the_names,
        updates_guard_on_the_revision,
        an_update_may_keep_its_own_names,
        updates_meet_other_peoples_names,
        sign_in_finds_users_by_either_name,
        usernames_and_addresses_are_one_namespace,
        of_many_claims_of_one_name_one_stands,
        users_are_listed_sought_and_ordered,
        users_are_listed_by_time_whatever_their_numbers,
        pages_have_totals,
    }
    commits {
        a_commit_writes_everything,
        a_conflict_writes_nothing,
        nothing_is_written_for_whoever_has_changed_since,
        a_dropped_caller_changes_nothing,
        many_commits_at_once_all_stand,
        one_of_many_equal_users_is_stored,
        a_commit_completes_only_what_is_open,
    }
    credentials {
        roles_are_given_and_taken,
        a_change_of_roles_raises_the_revision,
        roles_end,
        role_slugs_name_their_app,
        users_are_found_by_role,
        api_keys_belong_to_one_user,
        api_keys_end,
        tokens_are_exchanged_once_and_remembered,
        a_family_ends_alone,
        an_epoch_ends_with_password_and_activity,
        a_password_is_hashed_anew_and_nothing_ends,
        sign_in_is_noted,
        deletion_ends_credentials,
    }
    invocations {
        a_record_is_read_as_written,
        ends_are_read_as_written,
        a_run_may_be_written_with_its_end,
        records_are_born_by_holder_and_waiter,
        an_end_brings_its_record,
        an_end_with_its_record_respects_the_hold,
        names_survive_a_deleted_function,
        records_are_filtered_newest_first,
        records_are_listed_for_those_who_may_see_them,
        ones_own_records_can_be_confined_to_an_app,
        lists_leave_logs_out,
    }
    attempts {
        every_attempt_stays_on_record,
        lists_tell_of_every_attempt,
        an_attempt_without_a_report_stays_on_record,
        a_redrive_keeps_the_attempts_before_it,
        what_is_kept_of_attempts_is_bounded,
        a_pinned_run_is_claimed_as_such,
    }
    dead_letters {
        dead_letters_are_found_oldest_first,
        dead_letters_go_by_time_whatever_their_numbers,
        a_redriven_run_waits_for_its_first_attempt,
        a_redrive_can_move_to_another_version,
        a_redriven_letter_acts_for_whoever_asks,
        of_many_redrives_one_counts,
        only_the_dead_are_redriven_or_discarded,
        a_discarded_letter_is_failed_history,
        of_a_type_that_nobody_registers_one_is_read_found_and_discarded,
        dead_letters_of_another_site_are_out_of_reach,
    }
    retention {
        each_state_is_kept_for_its_period,
        what_is_open_or_dead_is_never_deleted,
        a_discarded_letter_counts_from_its_discard,
        steps_are_small_and_go_on_where_they_stopped,
        a_record_of_a_wrong_clock_holds_nothing_up,
        no_period_deletes_nothing,
        the_newest_record_stays,
        ended_tokens_are_deleted_a_few_at_a_time,
    }
    secrets {
        a_secret_is_stored_and_changed,
        secrets_belong_to_an_app_or_to_the_site,
        a_secret_is_deleted_only_as_it_was_seen,
    }
    idempotency {
        an_answer_is_stored_with_its_effect,
        a_second_write_with_a_key_changes_nothing,
        a_refused_write_leaves_its_key_free,
        keys_of_others_are_other_keys,
        of_many_writes_with_one_key_one_stands,
        answers_show_what_was_committed,
        a_result_is_stored_with_its_answer,
        expired_keys_make_room,
        keys_are_forgotten_in_batches,
    }
    queue {
        what_is_due_is_claimed_oldest_first,
        a_claim_is_exclusive,
        a_second_result_is_refused,
        a_result_under_another_hold_is_refused,
        a_start_is_noted_only_under_its_hold,
        a_retry_waits_for_its_time,
        a_clock_that_was_set_back_leaves_nothing_stuck,
        a_callers_clock_does_not_matter_to_what_is_due,
        a_rescue_sorts_by_who_waits,
        a_lease_ends_with_the_signs_of_life,
        what_is_handed_back_waits_again,
        a_run_that_loses_too_many_workers_is_given_up,
        what_was_lost_sight_of_is_queued_again,
        lines_with_waiting_runs_are_found,
        a_claim_takes_from_each_line_what_was_asked_for,
        random_lives_follow_the_rules,
    }
    isolation {
        apps_of_another_site_are_out_of_reach,
        functions_of_another_site_are_out_of_reach,
        subscribers_of_another_site_are_out_of_reach,
        users_of_another_site_are_out_of_reach,
        credentials_of_another_site_are_out_of_reach,
        secrets_of_another_site_are_out_of_reach,
        invocations_of_another_site_are_out_of_reach,
        the_same_names_live_in_two_sites,
    }
}
