//! `#[derive(LifecycleEvent)]`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{DeriveInput, Error, Expr, LitStr, Result};

/// What stands in `#[event(…)]`.
#[derive(Default)]
struct Declared {
    name: Option<LitStr>,
    description: Option<LitStr>,
    enrichable: Vec<LitStr>,
    sample: Option<Expr>,
    check: Option<Expr>,
}

impl Declared {
    fn of(input: &DeriveInput) -> Result<Self> {
        let mut declared = Self::default();
        for attribute in input.attrs.iter().filter(|it| it.path().is_ident("event")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("name") {
                    declared.name = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("description") {
                    declared.description = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("sample") {
                    declared.sample = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("check") {
                    declared.check = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("enrichable") {
                    let fields;
                    syn::parenthesized!(fields in meta.input);
                    let fields = fields.parse_terminated(|it| it.parse(), syn::Token![,])?;
                    declared.enrichable = fields.into_iter().collect();
                } else {
                    return Err(meta.error("use name, description, enrichable(…), sample or check"));
                }
                Ok(())
            })?;
        }
        Ok(declared)
    }
}

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let declared = Declared::of(input)?;
    let of_type = |what: &str| Error::new_spanned(&input.ident, what);
    let name = declared
        .name
        .ok_or_else(|| of_type("name the event: #[event(name = \"PRE_…\")]"))?;
    let description = declared
        .description
        .ok_or_else(|| of_type("say when it happens: #[event(description = \"…\")]"))?;
    let text = name.value();
    let rest = match (text.strip_prefix("PRE_"), text.strip_prefix("POST_")) {
        (Some(rest), _) | (None, Some(rest)) => rest.to_owned(),
        (None, None) => {
            let what = "an event's name is PRE_ or POST_, then capitals, digits and _";
            return Err(Error::new_spanned(&name, what));
        }
    };
    let is_pre = text.starts_with("PRE_");
    if !is_pre && (!declared.enrichable.is_empty() || declared.check.is_some()) {
        let what = "only a PRE event has something that functions change";
        return Err(Error::new_spanned(&name, what));
    }
    let sample = match declared.sample {
        Some(sample) => quote!(#sample),
        None => quote!(::core::default::Default::default()),
    };
    let (ty, enrichable) = (&input.ident, &declared.enrichable);
    let (impl_generics, ty_generics, where_clause) = input.generics.split_for_impl();
    let spec = match is_pre {
        true => quote!(announcing),
        false => quote!(of),
    };
    let announcement = is_pre.then(|| announcement(input, &name, &rest, declared.check.as_ref()));
    let field = format_ident!("NAME");
    Ok(quote! {
        impl #impl_generics ::tollgate::LifecycleEvent for #ty #ty_generics #where_clause {
            const TYPE: ::tollgate::EventType = {
                static #field: ::tollgate::Name = ::tollgate::Name::declared(#name);
                ::tollgate::EventType::declared(&#field)
            };

            fn sample() -> Self {
                #sample
            }
        }

        #announcement

        impl #impl_generics ::tollgate::Described for #ty #ty_generics #where_clause {
            fn spec() -> ::tollgate::EventSpec {
                ::tollgate::EventSpec::#spec::<Self>(#description)
                    .with_enrichable(&[#(#enrichable),*])
            }
        }
    })
}

/// What makes it a PRE event: the name of its refusal, and its check.
fn announcement(
    input: &DeriveInput,
    name: &LitStr,
    rest: &str,
    check: Option<&Expr>,
) -> TokenStream {
    let ty = &input.ident;
    let (impl_generics, ty_generics, where_clause) = input.generics.split_for_impl();
    let denied = LitStr::new(&format!("POST_{rest}_DENIED"), name.span());
    let check = check.map(|check| {
        quote! {
            fn check(&self) -> ::core::result::Result<(), ::std::string::String> {
                (#check)(self)
            }
        }
    });
    quote! {
        impl #impl_generics ::tollgate::Announcement for #ty #ty_generics #where_clause {
            const DENIED: ::tollgate::EventType = {
                static NAME: ::tollgate::Name = ::tollgate::Name::declared(#denied);
                ::tollgate::EventType::declared(&NAME)
            };
            #check
        }
    }
}
