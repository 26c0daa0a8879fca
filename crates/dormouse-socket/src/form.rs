//! In which form a socket takes what is sent to it.

use crate::deflate::Window;

/// How the frames of a socket are written. All that is published is a batch of plain frames; the
/// other forms are made from it when the first socket needs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As frames of RFC 6455.
    Plain,
    /// As such frames, with messages compressed.
    Deflated(Window),
    /// As server-sent events.
    EventStream(Convention),
}

/// How an event stream says what is no event of the object. The events are the same in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convention {
    /// A ping is a comment, and an event of type `close` gives the code of the end and the reason.
    Own,
    /// As the subscriptions of tRPC: events of the types `connected`, `ping`, `return` and
    /// `serialized-error`.
    Trpc,
}

impl Form {
    /// Number of forms that are made from the plain one.
    pub(crate) const MADE_COUNT: usize = Window::COUNT + 1;

    /// Its place in a list of the forms that are made. `None`: it is the plain one.
    pub(crate) const fn index(self) -> Option<usize> {
        match self {
            Form::Plain => None,
            Form::Deflated(window) => Some(window.index()),
            // What is published are events, which all conventions have in common.
            Form::EventStream(_) => Some(Window::COUNT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_that_is_made_has_a_place_of_its_own() {
        let windows = [Window::Tiny, Window::Small, Window::Full];
        let deflated = windows.into_iter().map(Form::Deflated);

        let mut places: Vec<usize> =
            deflated.chain([Form::EventStream(Convention::Own)]).filter_map(Form::index).collect();

        places.sort_unstable();
        assert_eq!(places, (0..Form::MADE_COUNT).collect::<Vec<_>>());
        assert_eq!(Form::Plain.index(), None);
        assert_eq!(Form::EventStream(Convention::Trpc).index(), places.last().copied());
    }
}
