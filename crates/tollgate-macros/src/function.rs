//! `#[tollgate::function]`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Error, ItemFn, LitStr, Result};

pub(crate) fn expand(arguments: &TokenStream, item: &ItemFn) -> Result<TokenStream> {
    if !arguments.is_empty() {
        let what = "the attribute takes nothing: the slug is the function's name";
        return Err(Error::new_spanned(arguments, what));
    }
    if item.sig.asyncness.is_none() || item.sig.inputs.len() != 1 {
        let what =
            "a system function is `async fn name(call: SystemCall) -> Result<Value, String>`";
        return Err(Error::new_spanned(&item.sig, what));
    }
    let (name, visible) = (&item.sig.ident, &item.vis);
    let about = item.attrs.iter().filter(|it| it.path().is_ident("doc"));
    let slug = LitStr::new(&name.to_string().replace('_', "-"), name.span());
    let inner = format_ident!("run");
    let mut body = item.clone();
    body.sig.ident = inner.clone();
    body.vis = syn::Visibility::Inherited;
    body.attrs.retain(|it| !it.path().is_ident("doc"));
    Ok(quote! {
        #(#about)*
        #visible fn #name() -> ::tollgate::SystemFunction {
            #body
            ::tollgate::SystemFunction::new(#slug, |call| ::std::boxed::Box::pin(#inner(call)))
        }
    })
}
