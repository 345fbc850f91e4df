//! Replies: a code, its enhanced code (RFC 3463) and a text.

use std::borrow::Cow;

/// One reply. A `\n` in the text makes it a reply of several lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    /// Empty for the greeting and for EHLO, which carry none.
    enhanced: &'static str,
    text: Cow<'static, str>,
}

impl Reply {
    pub(crate) const fn new(code: u16, enhanced: &'static str, text: &'static str) -> Self {
        Reply { code, enhanced, text: Cow::Borrowed(text) }
    }

    pub(crate) fn of(code: u16, enhanced: &'static str, text: String) -> Self {
        Reply { code, enhanced, text: Cow::Owned(text) }
    }

    pub(crate) fn is_error(&self) -> bool {
        self.code >= 400
    }

    /// True of the two replies after which the server hangs up.
    pub(crate) fn closes(&self) -> bool {
        matches!(self.code, 221 | 421)
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut lines = self.text.split('\n').peekable();
        while let Some(line) = lines.next() {
            let mark = if lines.peek().is_some() { '-' } else { ' ' };
            let gap = if self.enhanced.is_empty() { "" } else { " " };
            out.extend_from_slice(
                format!("{}{mark}{}{gap}{line}\r\n", self.code, self.enhanced).as_bytes(),
            );
        }
    }
}

pub(crate) const OK: Reply = Reply::new(250, "2.0.0", "OK");
pub(crate) const SENDER_OK: Reply = Reply::new(250, "2.1.0", "Sender OK");
pub(crate) const RECIPIENT_OK: Reply = Reply::new(250, "2.1.5", "Recipient OK");
pub(crate) const START_DATA: Reply = Reply::new(354, "", "Send the message; end with a lone dot");
pub(crate) const GOODBYE: Reply = Reply::new(221, "2.0.0", "Goodbye");
pub(crate) const MAYBE: Reply =
    Reply::new(252, "2.5.0", "Not verified, but mail to it will be taken");
pub(crate) const HELP: Reply =
    Reply::new(214, "2.0.0", "EHLO HELO MAIL RCPT DATA RSET VRFY NOOP HELP QUIT");

pub(crate) const STOPPING: Reply = Reply::new(421, "4.3.2", "This mail server is stopping");
pub(crate) const REFUSED: Reply = Reply::new(421, "4.3.2", "This mail server takes no mail now");
pub(crate) const BUSY: Reply = Reply::new(421, "4.7.0", "Too many connections");
pub(crate) const IDLE: Reply = Reply::new(421, "4.4.2", "You were silent for too long");
pub(crate) const TOO_MANY_ERRORS: Reply = Reply::new(421, "4.7.0", "Too many errors");

pub(crate) const TEMP_FAIL: Reply = Reply::new(451, "4.3.0", "Try again later");
pub(crate) const NOT_STORED: Reply = Reply::new(451, "4.3.0", "The message could not be stored");
pub(crate) const TOO_MANY_RECIPIENTS: Reply = Reply::new(452, "4.5.3", "Too many recipients");
pub(crate) const NO_ROOM: Reply = Reply::new(452, "4.3.1", "No room for a further message now");
pub(crate) const RECIPIENT_BUSY: Reply = Reply::new(450, "4.2.1", "Mailbox unavailable for now");

pub(crate) const NO_CRLF: Reply =
    Reply::new(500, "5.5.2", "A line ends with CR LF, and has neither elsewhere");
pub(crate) const LINE_TOO_LONG: Reply = Reply::new(500, "5.5.2", "Line too long");
pub(crate) const NOT_TEXT: Reply =
    Reply::new(500, "5.5.2", "A command is UTF-8 without control characters");
pub(crate) const UNKNOWN_COMMAND: Reply = Reply::new(500, "5.5.1", "Command not recognised");
pub(crate) const NO_ARGUMENT: Reply = Reply::new(501, "5.5.4", "This command takes no argument");
pub(crate) const HELLO_SYNTAX: Reply = Reply::new(501, "5.5.4", "Syntax: EHLO your.host.name");
pub(crate) const MAIL_SYNTAX: Reply = Reply::new(501, "5.5.4", "Syntax: MAIL FROM:<address>");
pub(crate) const RCPT_SYNTAX: Reply = Reply::new(501, "5.5.4", "Syntax: RCPT TO:<address>");
pub(crate) const BAD_SENDER: Reply = Reply::new(501, "5.1.7", "This is not a sender's address");
pub(crate) const BAD_RECIPIENT: Reply =
    Reply::new(501, "5.1.3", "This is not a recipient's address");
pub(crate) const BAD_PARAMETER_VALUE: Reply =
    Reply::new(501, "5.5.4", "A parameter has a value that it cannot have");
pub(crate) const NOT_OFFERED: Reply = Reply::new(502, "5.5.1", "Not offered here");
pub(crate) const BAD_SEQUENCE: Reply =
    Reply::new(503, "5.5.1", "Not now: bad sequence of commands");
pub(crate) const NO_MAILBOX: Reply = Reply::new(550, "5.1.1", "No such mailbox here");
pub(crate) const TOO_BIG: Reply = Reply::new(552, "5.3.4", "The message is too big");
pub(crate) const NEEDS_UTF8: Reply =
    Reply::new(553, "5.6.7", "An address beyond ASCII needs MAIL with SMTPUTF8");
pub(crate) const BARE_LINE_ENDS: Reply =
    Reply::new(554, "5.6.0", "The message has CR or LF outside of a CR LF pair");
pub(crate) const UNKNOWN_PARAMETER: Reply =
    Reply::new(555, "5.5.4", "A parameter is not one that was offered");
