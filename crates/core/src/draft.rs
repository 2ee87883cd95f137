//! What somebody asks to be written, with what is wrong with it already: whoever checks it further
//! tells everything at once.
//!
//! Must never give a value away about which anything is wrong; it can only be looked at.

use crate::error::Error;
use crate::validation::FieldError;

/// What is wrong with a draft so far.
#[derive(Debug, Clone, Default)]
pub struct Faults(Vec<FieldError>);

impl Faults {
    /// Adds what is wrong with a field, unless that only follows from what is known of it.
    pub fn add(&mut self, fault: FieldError) {
        if !self.concern(&fault.field) {
            self.0.push(fault);
        }
    }

    /// Whether anything is wrong with a field, with what stands in it, or with what it stands in. What
    /// is checked against it then would be checked against nothing that was sent.
    pub fn concern(&self, field: &str) -> bool {
        let within = |inner: &str, outer: &str| {
            inner
                .strip_prefix(outer)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let is_same = |it: &FieldError| within(&it.field, field) || within(field, &it.field);
        self.0.iter().any(is_same)
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A value that somebody asks to be written. What is wrong with it stands in it as if it had been left
/// out.
#[derive(Debug, Clone)]
pub struct Draft<T> {
    value: T,
    faults: Faults,
}

impl<T> Draft<T> {
    /// A value with what is wrong with it.
    pub fn new(value: T, faults: Vec<FieldError>) -> Self {
        Self {
            value,
            faults: Faults(faults),
        }
    }

    /// The same draft as another type, which may find more faults on its way.
    pub fn map<U>(self, read: impl FnOnce(T, &mut Faults) -> U) -> Draft<U> {
        let Self { value, mut faults } = self;
        Draft {
            value: read(value, &mut faults),
            faults,
        }
    }

    /// The value, to be checked and never to be written.
    pub fn look(&self) -> &T {
        &self.value
    }

    /// What is wrong so far.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Adds what is wrong.
    pub fn fault(&mut self, fault: FieldError) {
        self.faults.add(fault);
    }

    /// The value, if nothing is wrong with it, with `found` neither.
    ///
    /// # Errors
    /// [`Error::Validation`] with everything, but what only follows from something else.
    pub fn checked(self, found: Vec<FieldError>) -> Result<T, Error> {
        let all = self.faults_with(found);
        if all.is_empty() {
            Ok(self.value)
        } else {
            Err(Error::Validation(all))
        }
    }

    /// What is wrong, and what was found beside it that does not only follow from it.
    pub fn faults_with(&self, found: Vec<FieldError>) -> Vec<FieldError> {
        // Of one field, a check may find several.
        let new = found
            .into_iter()
            .filter(|it| !self.faults.concern(&it.field));
        self.faults.0.iter().cloned().chain(new).collect()
    }

    /// The value, if nothing is wrong with it.
    ///
    /// # Errors
    /// As [`Self::checked`].
    pub fn whole(self) -> Result<T, Error> {
        self.checked(Vec::new())
    }
}

impl<T> From<T> for Draft<T> {
    fn from(value: T) -> Self {
        Self::new(value, Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(error: &Error) -> Vec<&str> {
        let Error::Validation(faults) = error else {
            panic!("{error}")
        };
        faults.iter().map(|it| &*it.field).collect()
    }

    #[test]
    fn a_draft_tells_all_that_is_wrong_and_nothing_that_follows_from_it() {
        let fault = |field: &'static str| FieldError::new(field, "wrong");
        let mut draft = Draft::new("", vec![fault("a.b"), fault("c")]);
        draft.fault(fault("c.d"));
        draft.fault(fault("e"));
        let found = ["a", "a.b.c", "a.c", "ab", "c", "f", "f"];
        let refused = draft.checked(found.map(fault).into()).unwrap_err();
        assert_eq!(fields(&refused), ["a.b", "c", "e", "a.c", "ab", "f", "f"]);
    }

    #[test]
    fn a_draft_without_faults_is_given_away() {
        let draft = Draft::from(1).map(|it, _| it + 1);
        assert!(draft.faults().is_empty());
        assert_eq!(draft.whole().unwrap(), 2);
        let found = vec![FieldError::new("a", "wrong")];
        assert_eq!(fields(&Draft::from(1).checked(found).unwrap_err()), ["a"]);
    }
}
