//! What answers of hosts come to: one for the client out of one or many, with its statistics.

use crate::redirect::Errand;
use nuncio_codec::resp::Value;
use nuncio_core::Worker;
use nuncio_rt::{Deadline, Time};
use nuncio_stats::{
    Scope,
    tables::redis::{DELAY_FAULT, ERROR, LATENCY, SUCCESS},
};
use std::{
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

/// There is nobody to ask.
pub(crate) const NO_HOST: &str = "no upstream host";
/// Whoever was asked has not answered.
pub(crate) const FAILURE: &str = "upstream failure";

/// Counts one command: what came of it, and how long it took.
pub(crate) struct Meter {
    pub(crate) worker: Rc<Worker>,
    pub(crate) scope: Arc<Scope>,
    pub(crate) micros: bool,
    pub(crate) begun: Time,
}

impl Meter {
    pub(crate) fn finish(&self, success: bool) {
        self.scope.inc(self.worker.lane, if success { SUCCESS } else { ERROR });
        let took = Time::now().since(self.begun);
        let took = if self.micros { took.as_micros() } else { took.as_millis() };
        self.scope.record(self.worker.lane, LATENCY, u64::try_from(took).unwrap_or(u64::MAX));
    }
}

/// One host's part in an answer.
pub(crate) enum Part {
    /// It has been asked.
    Waiting(Errand),
    /// It is known.
    Done(Value),
}

impl Part {
    /// Of a host that was asked, or could not be.
    pub(crate) fn of(errand: Option<Errand>) -> Part {
        errand.map_or_else(|| Part::Done(Value::error(NO_HOST)), Part::Waiting)
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        if let Part::Waiting(handle) = self {
            *self = Part::Done(ready!(handle.poll(cx)).unwrap_or_else(|| Value::error(FAILURE)));
        }
        Poll::Ready(())
    }

    fn into_value(self) -> Value {
        match self {
            Part::Done(value) => value,
            Part::Waiting(_) => Value::error(FAILURE),
        }
    }
}

/// How the answers of many become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merge {
    /// A list of what was found.
    Values,
    /// OK when all are.
    Ok,
    /// Numbers are added up.
    Sum,
    /// Lists are put one behind the other; failures are counted.
    Lists,
    /// The same, but for failures: the first is the answer.
    ListsOrFirst,
    /// A list with each answer in it.
    Each,
    /// The first failure, or the first answer.
    First,
}

/// A command whose answer is due, or will be.
pub(crate) enum Pending {
    /// The answer.
    Ready(Value),
    /// One host's.
    One(Errand, Meter),
    /// That of many.
    Many(Vec<Part>, Merge, Meter),
    /// Any of these, later than it could be.
    Late(Box<Late>),
}

/// An answer that a fault delays.
pub(crate) struct Late {
    pub(crate) inner: Pending,
    pub(crate) delay: Duration,
    pub(crate) deadline: Option<Deadline>,
    pub(crate) worker: Rc<Worker>,
    pub(crate) scope: Arc<Scope>,
}

impl Pending {
    /// Ready when the answer is there: then it is [`Pending::Ready`].
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let value = match self {
            Pending::Ready(_) => return Poll::Ready(()),
            Pending::One(handle, meter) => {
                let outcome = ready!(handle.poll(cx));
                meter.finish(outcome.is_some());
                outcome.unwrap_or_else(|| Value::error(FAILURE))
            }
            Pending::Many(parts, merge, meter) => {
                for part in parts.iter_mut() {
                    ready!(part.poll(cx));
                }
                let values = std::mem::take(parts).into_iter().map(Part::into_value).collect();
                let (value, success) = merge.merge(values);
                meter.finish(success);
                value
            }
            Pending::Late(late) => ready!(late.poll(cx)),
        };
        *self = Pending::Ready(value);
        Poll::Ready(())
    }

    /// The answer, once it is ready.
    pub(crate) fn into_value(self) -> Value {
        match self {
            Pending::Ready(value) => value,
            _ => Value::error(FAILURE),
        }
    }
}

impl Late {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Value> {
        ready!(self.inner.poll(cx));
        let deadline = self.deadline.get_or_insert_with(|| {
            let mut deadline = Deadline::new(self.worker.timers.clone());
            deadline.set(Some(Time::now() + self.delay));
            deadline
        });
        ready!(deadline.poll(cx, Time::now()));
        self.scope.inc(self.worker.lane, DELAY_FAULT);
        Poll::Ready(std::mem::replace(&mut self.inner, Pending::Ready(Value::Null)).into_value())
    }
}

impl Merge {
    /// The answer, and whether it counts as a success.
    pub(crate) fn merge(self, values: Vec<Value>) -> (Value, bool) {
        let failures = |count: usize| Value::error(format!("finished with {count} error(s)"));
        match self {
            Merge::Values => {
                let mut fine = true;
                let found = values.into_iter().map(|value| match value {
                    Value::Null | Value::Bulk(_) => value,
                    Value::Error(_) => {
                        fine = false;
                        value
                    }
                    _ => {
                        fine = false;
                        Value::error("upstream protocol error")
                    }
                });
                (Value::Array(found.collect()), fine)
            }
            Merge::Ok => match values.iter().filter(|value| !matches!(value, Value::Simple(text) if text == b"OK")).count() {
                0 => (Value::simple("OK"), true),
                count => (failures(count), false),
            },
            Merge::Sum => {
                let numbers = || values.iter().filter_map(|value| if let Value::Integer(number) = value { Some(*number) } else { None });
                match values.len() - numbers().count() {
                    0 => (Value::Integer(numbers().fold(0, i64::wrapping_add)), true),
                    count => (failures(count), false),
                }
            }
            Merge::Lists | Merge::ListsOrFirst => {
                let wrong = values.iter().filter(|value| !matches!(value, Value::Array(_))).count();
                if wrong > 0 {
                    return match self {
                        Merge::Lists => (failures(wrong), false),
                        _ => Merge::First.merge(values),
                    };
                }
                let lists = values.into_iter().filter_map(|value| if let Value::Array(list) = value { Some(list) } else { None });
                (Value::Array(lists.flatten().collect()), true)
            }
            Merge::Each => match values.iter().filter(|value| matches!(value, Value::Error(_))).count() {
                0 => (Value::Array(values), true),
                _ => Merge::First.merge(values),
            },
            Merge::First => {
                let failure = values.iter().position(|value| matches!(value, Value::Error(_)));
                match values.into_iter().nth(failure.unwrap_or(0)) {
                    Some(value) => (value, failure.is_none()),
                    None => (Value::error(NO_HOST), false),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_many_become_one() {
        let error = || Value::error("x");
        let list = |number| Value::Array(vec![Value::Integer(number)]);
        let cases = [
            (Merge::Values, vec![Value::bulk("a"), Value::Null], Value::Array(vec![Value::bulk("a"), Value::Null]), true),
            (Merge::Values, vec![error(), Value::Integer(1)], Value::Array(vec![error(), Value::error("upstream protocol error")]), false),
            (Merge::Ok, vec![Value::simple("OK"); 2], Value::simple("OK"), true),
            (Merge::Ok, vec![Value::simple("OK"), error()], Value::error("finished with 1 error(s)"), false),
            (Merge::Sum, vec![Value::Integer(2), Value::Integer(3)], Value::Integer(5), true),
            (Merge::Sum, vec![Value::Integer(2), Value::Null, error()], Value::error("finished with 2 error(s)"), false),
            (Merge::Lists, vec![list(1), list(2)], Value::Array(vec![Value::Integer(1), Value::Integer(2)]), true),
            (Merge::Lists, vec![list(1), error()], Value::error("finished with 1 error(s)"), false),
            (Merge::ListsOrFirst, vec![list(1), error()], error(), false),
            (Merge::Each, vec![list(1)], Value::Array(vec![list(1)]), true),
            (Merge::First, vec![Value::simple("OK"), error()], error(), false),
            (Merge::First, vec![], Value::error(NO_HOST), false),
        ];
        for (merge, values, value, success) in cases {
            assert_eq!(merge.merge(values), (value, success), "{merge:?}");
        }
    }
}
