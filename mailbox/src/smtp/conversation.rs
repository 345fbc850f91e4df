//! One SMTP conversation, without its input and output.
//!
//! `mailin` knows which command may follow which, and the transparency of
//! message lines. Around it: the grammar (`command`), the extensions that EHLO
//! lists, enhanced status codes, and every judgement on a message.

use std::net::IpAddr;
use std::sync::Arc;

use mailin::{Session, SessionBuilder};

use super::Shared;
use super::command::{self, Command};
use super::lines::Piece;
use super::reply::{self, Reply};
use super::transaction::{Desk, Transaction};
use crate::mail::{Envelope, Trace};

/// Mistakes that a client may make before it is sent away.
const MAX_ERRORS: u32 = 100;

/// The state of one conversation.
pub(crate) struct Conversation {
    shared: Arc<Shared>,
    machine: Session<Desk>,
    desk: Desk,
    peer: IpAddr,
    /// The name and the protocol of the last greeting that was taken.
    helo: (String, &'static str),
    in_data: bool,
    /// Within a line too long for one piece: what follows does not begin one.
    mid_line: bool,
    errors: u32,
}

/// What is to be done after a piece of input.
pub(crate) enum Turn {
    /// Nothing: the message, or the line, goes on.
    Wait,
    /// Send this.
    Reply(Reply),
    /// A message has come in whole: keep it, then send the outcome.
    Message(Envelope, Trace),
}

impl Conversation {
    pub(crate) fn new(shared: Arc<Shared>, peer: IpAddr) -> Self {
        let desk = Desk::new(Transaction::new(Arc::clone(&shared)));
        let machine = SessionBuilder::new(shared.name.clone()).build(peer, desk.clone());
        let helo = (String::new(), "SMTP");
        let (in_data, mid_line, errors) = (false, false, 0);
        Conversation { shared, machine, desk, peer, helo, in_data, mid_line, errors }
    }

    pub(crate) fn greeting(&self) -> Reply {
        Reply::of(220, "", format!("{} ESMTP keeps mail, delivers none", self.shared.name))
    }

    /// Takes one piece of input.
    pub(crate) fn take(&mut self, kind: &Piece, piece: &[u8]) -> Turn {
        let begins_line = !std::mem::replace(&mut self.mid_line, *kind == Piece::Part);
        if self.in_data {
            // Within a message a lone LF ends no line, so none begins after it.
            self.mid_line = *kind != Piece::Line;
            return self.message_piece(begins_line, piece);
        }
        let answer = match kind {
            _ if !begins_line && *kind != Piece::Part => Err(reply::LINE_TOO_LONG),
            Piece::Line => self.command(piece.strip_suffix(b"\r\n").unwrap_or(piece)),
            Piece::BareLf => Err(reply::NO_CRLF),
            Piece::Part | Piece::End => return Turn::Wait,
        };
        let reply = answer.unwrap_or_else(|reply| reply);
        if reply.is_error() {
            self.errors += 1;
            if self.errors > MAX_ERRORS {
                return Turn::Reply(reply::TOO_MANY_ERRORS);
            }
        }
        Turn::Reply(reply)
    }

    /// The message that [`Turn::Message`] spoke of, or why it is refused.
    pub(crate) fn desk(&self) -> Desk {
        self.desk.clone()
    }

    fn message_piece(&mut self, begins_line: bool, piece: &[u8]) -> Turn {
        if !begins_line {
            // `mailin` takes every piece for a line of its own.
            self.desk.transaction().body.push(piece);
            return Turn::Wait;
        }
        if self.machine.process(piece).code == 0 {
            return Turn::Wait;
        }
        self.in_data = false;
        let transaction = self.desk.transaction();
        if let Err(reply) = transaction.body.whole() {
            drop(transaction);
            self.desk.transaction().reset();
            return Turn::Reply(reply);
        }
        let (helo, protocol) = self.helo.clone();
        let trace = Trace { helo, peer: self.peer, protocol, by: self.shared.name.clone() };
        Turn::Message(transaction.envelope.clone(), trace)
    }

    fn command(&mut self, line: &[u8]) -> Result<Reply, Reply> {
        let command = command::parse(line)?;
        match command {
            Command::Vrfy => return Ok(reply::MAYBE),
            Command::Help => return Ok(reply::HELP),
            _ => {}
        }
        let code = self.ask_machine(&command);
        if let Some(reply) = self.desk.transaction().reply.take() {
            return Ok(reply);
        }
        Ok(match (command, code) {
            (Command::Helo(name), 250) => {
                self.begin(name, "SMTP");
                Reply::of(250, "", self.shared.name.clone())
            }
            (Command::Ehlo(name), 250) => {
                self.begin(name, "ESMTP");
                self.extensions()
            }
            (Command::Rset, 250) => {
                self.desk.transaction().reset();
                reply::OK
            }
            (Command::Data, 354) => {
                self.in_data = true;
                reply::START_DATA
            }
            (_, 250) => reply::OK,
            (_, 221) => reply::GOODBYE,
            (_, _) => reply::BAD_SEQUENCE,
        })
    }

    /// Has `mailin` judge the command, in a form that it can read.
    fn ask_machine(&mut self, command: &Command) -> u16 {
        let line: &[u8] = match command {
            Command::Helo(_) => b"HELO client\r\n",
            Command::Ehlo(_) => b"EHLO client\r\n",
            Command::Mail(mail) => {
                self.desk.transaction().mail = mail.clone();
                if mail.eight_bit {
                    b"MAIL FROM:<-> BODY=8BITMIME\r\n"
                } else {
                    b"MAIL FROM:<->\r\n"
                }
            }
            Command::Rcpt(address) => {
                self.desk.transaction().recipient = address.clone();
                b"RCPT TO:<->\r\n"
            }
            Command::Data => b"DATA\r\n",
            Command::Rset => b"RSET\r\n",
            Command::Quit => b"QUIT\r\n",
            Command::Noop | Command::Vrfy | Command::Help => b"NOOP\r\n",
        };
        self.machine.process(line).code
    }

    fn begin(&mut self, name: String, protocol: &'static str) {
        self.helo = (name, protocol);
        self.desk.transaction().reset();
    }

    fn extensions(&self) -> Reply {
        let (name, size) = (&self.shared.name, self.shared.limits.message_bytes);
        let text = format!(
            "{name}\nSIZE {size}\n8BITMIME\nSMTPUTF8\nPIPELINING\nENHANCEDSTATUSCODES\nHELP"
        );
        Reply::of(250, "", text)
    }
}
