//! Declares events and system functions for the crate `tollgate`, which exports both.
//!
//! Must never decide anything that the plain traits leave to their author: what is written here could be written by
//! hand.

mod event;
mod function;

use proc_macro::TokenStream;
use syn::{DeriveInput, ItemFn, parse_macro_input};

/// Makes a type the parameters of an event, and describes the event.
///
/// ```text
/// #[derive(Clone, Serialize, Deserialize, JsonSchema, LifecycleEvent)]
/// #[event(
///     name = "PRE_ORDER_CREATE",
///     description = "Before an order is placed.",
///     enrichable("note"),
///     sample = Self::example(),
///     check = Self::faults,
/// )]
/// struct OrderProposal { … }
/// ```
///
/// - `name`: `PRE_` or `POST_`, then capitals, digits and `_`. Something else does not compile.
/// - `description`: when it happens, for people.
/// - `enrichable(…)`: fields that a PRE function may change; for PRE events only.
/// - `sample`: made-up but valid parameters; `Default::default()` unless set.
/// - `check`: a function `fn(&Self) -> Result<(), String>` that says why the values cannot be saved; for PRE events
///   only.
#[proc_macro_derive(LifecycleEvent, attributes(event))]
pub fn derive_lifecycle_event(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    event::derive(&input)
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}

/// Makes an `async fn(SystemCall) -> Result<Value, String>` one that gives a system function, registered under its name
/// with dashes.
///
/// ```text
/// #[tollgate::function]
/// async fn check_stock(call: SystemCall) -> Result<Value, String> { … }
///
/// Tollgate::builder().function(check_stock());
/// ```
#[proc_macro_attribute]
pub fn function(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as ItemFn);
    function::expand(&arguments.into(), &item)
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}
