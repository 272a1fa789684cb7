//! The AUTH command and the exchange it begins (RFC 4954) [SMTP-AUTH-02].
//!
//! Nothing of an argument or response is decoded without leave to read credentials ([`crate::seam::MayReadCredentials`]), so
//! in clear right and wrong passwords get the same answer and no question is asked [SMTP-AUTH-01] [SVC-05]. Lines that may hold
//! credentials are wiped.

use zeroize::Zeroize;

use super::core::Core;
use super::state::{Asked, Rest, Skip, State, Turn};
use crate::inbox::{Inbox, Line};
use crate::sasl::{self, AccountAnswer, Exchange, Failure, Mechanism, Step};
use crate::session::Why;
use crate::smtp::ask::Ask;
use crate::smtp::command::Syntax;
use crate::smtp::reply;

/// An exchange under way.
pub(super) struct Login {
    exchange: Exchange,
}

/// AUTH with its argument: a mechanism and perhaps an initial response.
pub(super) fn begin(core: &mut Core, mut argument: Vec<u8>) -> Turn {
    let turn = judge(core, &argument);
    argument.zeroize();
    turn
}

fn judge(core: &mut Core, argument: &[u8]) -> Turn {
    if core.account.is_some() {
        // [SMTP-AUTH-03]
        return core.bad(reply::ALREADY_LOGGED_IN, Rest::Ready);
    }
    let Some(leave) = core.channel.may_read_credentials() else {
        // [CONF-15] where TLS is not required there is just no mechanism.
        return core.bad(reply::MECHANISM_UNAVAILABLE, Rest::Ready);
    };
    let mut words = argument.split(|octet| *octet == b' ');
    let (name, initial) = (words.next().unwrap_or_default(), words.next());
    if words.next().is_some() {
        return core.bad(Syntax::BadArgument.into(), Rest::Ready);
    }
    // [SMTP-AUTH-04] 534 5.7.9 (weaker than policy permits for that user, RFC 4954 6) does not arise: policy is the same for all
    // users, and what it does not permit is not offered.
    let offered = sasl::offered(&core.channel, &core.config.mechanisms);
    let Some(mechanism) =
        Mechanism::from_name(name).filter(|mechanism| offered.contains(mechanism))
    else {
        return core.bad(reply::MECHANISM_UNAVAILABLE, Rest::Ready);
    };
    let mut exchange = Exchange::begin(mechanism, leave);
    match initial.map(initial_response).transpose() {
        Ok(mut initial) => {
            let step = exchange.start(initial.as_deref());
            initial.zeroize();
            Box::new(Login { exchange }).step(step, core)
        }
        Err(sasl::BadBase64) => core.bad(reply::BAD_BASE64, Rest::Ready),
    }
}

/// An empty initial response is sent as `=` [SMTP-AUTH-06].
fn initial_response(text: &[u8]) -> Result<Vec<u8>, sasl::BadBase64> {
    if text == b"=" {
        Ok(Vec::new())
    } else {
        sasl::decode_base64(text)
    }
}

impl Login {
    /// Takes the next response.
    pub(super) fn on(self: Box<Self>, core: &mut Core, inbox: &mut Inbox) -> Turn {
        match inbox.line(core.config.limits.response_octets) {
            Line::Incomplete => Turn::More(State::Auth(self)),
            Line::TooLong => Turn::Go(State::Skip(Skip {
                octets: 0,
                reply: reply::RESPONSE_TOO_LONG,
                back: Rest::Ready,
            })),
            Line::Complete(mut line) => {
                let turn = self.response(&line, core);
                line.zeroize();
                turn
            }
        }
    }

    fn response(mut self: Box<Self>, line: &[u8], core: &mut Core) -> Turn {
        if line == b"*" {
            return core.bad(reply::LOGIN_CANCELLED, Rest::Ready);
        }
        // [SMTP-AUTH-05] strict base64.
        let Ok(mut octets) = sasl::decode_base64(line) else {
            return core.bad(reply::BAD_BASE64, Rest::Ready);
        };
        let step = self.exchange.response(&octets);
        octets.zeroize();
        self.step(step, core)
    }

    /// Goes on with what the keeper of the accounts says.
    pub(super) fn answered(mut self: Box<Self>, answer: AccountAnswer, core: &mut Core) -> Turn {
        let step = self.exchange.answer(answer);
        self.step(step, core)
    }

    fn step(self: Box<Self>, step: Step, core: &mut Core) -> Turn {
        match step {
            Step::Challenge(octets) => {
                reply::write_challenge(&sasl::encode_base64(&octets), &mut core.out);
                Turn::Go(State::Auth(self))
            }
            Step::Ask(ask) => Turn::Ask(Ask::Account(ask), Asked::Account(self)),
            Step::Granted { account } => {
                core.account = Some(account);
                core.reply(reply::LOGGED_IN, Rest::Ready)
            }
            Step::Failed(failure) => failed(failure, core),
        }
    }
}

/// [SMTP-AUTH-04] each failure has its answer, and [SMTP-AUTH-13] a wrong name the same as a wrong password.
fn failed(failure: Failure, core: &mut Core) -> Turn {
    match failure {
        Failure::Malformed => core.bad(reply::BAD_RESPONSE, Rest::Ready),
        Failure::InitialResponseNotAllowed => core.bad(reply::NO_INITIAL_RESPONSE, Rest::Ready),
        Failure::Unavailable => core.reply(reply::LOGIN_UNAVAILABLE, Rest::Ready),
        Failure::WrongCredentials => {
            core.counters.failed_logins += 1;
            core.say(reply::WRONG_CREDENTIALS);
            // [SMTP-AUTH-10] not before the third.
            if core.counters.failed_logins >= core.config.limits.failed_logins {
                return core.leave(reply::TOO_MANY_LOGINS, Why::TooManyLoginFailures);
            }
            Turn::Go(State::Rest(Rest::Ready))
        }
    }
}
