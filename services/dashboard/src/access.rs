//! Who may change something: whoever shows the token, by a page of this service.
//!
//! Reading is open, on loopback. A change needs the cookie that `/login?token=…` sets, an
//! `Origin` that is this service's, and the token of the form that it came from.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{COOKIE, HOST, ORIGIN};
use chassis::{Problem, same_secret};
use sha2::{Digest, Sha256};
use url::{Host, Url};

const SHORTEST_TOKEN: usize = 16;

#[derive(Clone)]
pub struct Access {
    secrets: Option<Secrets>,
    public_url: Url,
}

#[derive(Clone)]
struct Secrets {
    token: [u8; 32],
    /// Two dashboards on one machine share their cookies: ports do not keep them apart.
    cookie_name: String,
    /// Not the token itself: other services on this machine get to see the cookie.
    cookie: String,
    form: String,
}

impl Access {
    /// # Errors
    /// Where the token is too short to be a secret.
    pub fn new(token: Option<&str>, public_url: &Url) -> anyhow::Result<Access> {
        let secrets = match token {
            None => None,
            Some(token) if token.len() < SHORTEST_TOKEN => anyhow::bail!(
                "DASHBOARD_TOKEN has fewer than {SHORTEST_TOKEN} characters: make a longer one"
            ),
            Some(token) => Some(Secrets {
                token: digest("token", token),
                cookie_name: format!("waybill_dashboard_{}", &hex(&digest("name", token))[..8]),
                cookie: hex(&digest("cookie", token)),
                form: hex(&digest("form", token)),
            }),
        };
        Ok(Access { secrets, public_url: public_url.clone() })
    }

    /// The `Set-Cookie` for whoever shows the token.
    ///
    /// # Errors
    /// 403 for another token, and where the service has none.
    pub fn log_in(&self, token: &str) -> Result<String, Problem> {
        let secrets = self.secrets.as_ref().ok_or_else(only_shows)?;
        if !same_secret(&digest("token", token), &secrets.token) {
            return Err(forbidden("this token is not the one in DASHBOARD_TOKEN"));
        }
        let secure = if self.public_url.scheme() == "https" { "; Secure" } else { "" };
        let Secrets { cookie_name, cookie, .. } = secrets;
        Ok(format!("{cookie_name}={cookie}; Path=/; HttpOnly; SameSite=Strict{secure}"))
    }

    /// What forms of a page have to carry; `None` where its reader may only read.
    pub fn form_token(&self, request: &HttpRequest) -> Option<String> {
        let secrets = self.secrets.as_ref()?;
        let mut values = request
            .headers()
            .get_all(COOKIE)
            .filter_map(|header| header.to_str().ok())
            .flat_map(|header| header.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == secrets.cookie_name);
        let shown =
            values.any(|(_, value)| same_secret(value.as_bytes(), secrets.cookie.as_bytes()));
        shown.then(|| secrets.form.clone())
    }

    /// Whether a form may change something.
    ///
    /// # Errors
    /// 403 that names what is missing.
    pub fn admit(&self, request: &HttpRequest, form_token: &str) -> Result<(), Problem> {
        if self.secrets.is_none() {
            return Err(only_shows());
        }
        let expected = self.form_token(request).ok_or_else(|| {
            forbidden("changes need the token: open the link that the dashboard's start printed, /login?token=…")
        })?;
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let origin = header(ORIGIN).unwrap_or("none");
        let host = header(HOST).unwrap_or_default();
        let own = [
            format!("http://{host}"),
            format!("https://{host}"),
            self.public_url.origin().ascii_serialization(),
        ];
        if !own.iter().any(|own| own == origin) {
            return Err(forbidden(format!(
                "the form came from another page: its Origin is {origin:?}"
            )));
        }
        if !same_secret(form_token.as_bytes(), expected.as_bytes()) {
            return Err(forbidden("the form has no valid form token: load its page again"));
        }
        Ok(())
    }

    /// Whether requests under this `Host` are meant for this service. A name of somebody's own
    /// that resolves to this machine would let that somebody's pages read what stands here.
    pub fn is_own_host(&self, host: &str) -> bool {
        let name = Url::parse(&format!("http://{host}/"));
        match name.as_ref().map(Url::host) {
            Ok(Some(Host::Ipv4(_) | Host::Ipv6(_))) => true,
            Ok(Some(Host::Domain(name))) => {
                name == "localhost"
                    || name.ends_with(".localhost")
                    || self.public_url.host_str() == Some(name)
            }
            _ => false,
        }
    }
}

fn forbidden(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, detail)
}

fn only_shows() -> Problem {
    forbidden("this dashboard only shows: set DASHBOARD_TOKEN to change things from it")
}

fn digest(purpose: &str, token: &str) -> [u8; 32] {
    Sha256::digest(format!("waybill dashboard {purpose}\0{token}")).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn access(token: Option<&str>) -> Access {
        Access::new(token, &"https://dash.example:8443".parse().unwrap()).unwrap()
    }

    #[test]
    fn a_change_needs_cookie_origin_and_form_token() {
        let access = access(Some(TOKEN));
        assert!(access.log_in("0123456789abcdeF").is_err());
        let cookie = access.log_in(TOKEN).unwrap();
        assert!(!cookie.contains(TOKEN));
        assert!(cookie.ends_with("; HttpOnly; SameSite=Strict; Secure"), "{cookie}");
        let with = format!("other=1; {}", cookie.split(';').next().unwrap());
        let request = |origin: &str, cookie: &str| {
            let request = TestRequest::post().insert_header((HOST, "127.0.0.1:8080"));
            request
                .insert_header((ORIGIN, origin))
                .insert_header((COOKIE, cookie))
                .to_http_request()
        };
        let form = access.form_token(&request("x", &with)).unwrap();
        let told = |origin: &str, cookie: &str, form: &str| {
            access.admit(&request(origin, cookie), form).err().map(|error| error.to_string())
        };
        assert_eq!(told("http://127.0.0.1:8080", &with, &form), None);
        assert_eq!(told("https://dash.example:8443", &with, &form), None);
        for (told, names) in [
            (told("http://127.0.0.1:8080", "", &form), "/login?token="),
            (told("http://127.0.0.1:8081", &with, &form), "http://127.0.0.1:8081"),
            (told("null", &with, &form), "null"),
            (told("http://127.0.0.1:8080", &with, ""), "form token"),
        ] {
            assert!(told.as_ref().is_some_and(|told| told.contains(names)), "{told:?}");
        }
    }

    #[test]
    fn without_a_token_it_only_shows() {
        let access = access(None);
        assert!(access.log_in("").unwrap_err().to_string().contains("DASHBOARD_TOKEN"));
        assert!(Access::new(Some("short"), &"http://x".parse().unwrap()).is_err());
    }

    #[test]
    fn only_its_own_names_are_answered() {
        let access = access(None);
        for host in ["127.0.0.1:8080", "[::1]:8080", "localhost", "a.localhost:1", "dash.example"] {
            assert!(access.is_own_host(host), "{host}");
        }
        for host in ["", "evil.example", "127.0.0.1.evil.example:80", "localhost.evil", "a b"] {
            assert!(!access.is_own_host(host), "{host}");
        }
    }
}
