//! Style and script: compiled in, and cached for as long as they stay the same.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Path;
use chassis::Problem;

pub struct Asset {
    name: &'static str,
    content_type: &'static str,
    text: &'static str,
    /// Changes with its content.
    pub address: String,
}

impl Asset {
    fn new(name: &'static str, content_type: &'static str, text: &'static str) -> Asset {
        let mut hash = DefaultHasher::new();
        text.hash(&mut hash);
        let address = format!("/static/{name}?v={:016x}", hash.finish());
        Asset { name, content_type, text, address }
    }
}

pub static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("style.css", "text/css; charset=utf-8", include_str!("../../static/style.css"))
});
pub static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(
        "script.js",
        "text/javascript; charset=utf-8",
        include_str!("../../static/script.js"),
    )
});

pub async fn show(name: Path<String>) -> Result<HttpResponse, Problem> {
    let asset = [&STYLE, &SCRIPT].into_iter().find(|asset| asset.name == *name);
    let asset = asset.ok_or_else(|| Problem::not_found(format!("there is no file {name:?}")))?;
    Ok(HttpResponse::Ok()
        .content_type(asset.content_type)
        .insert_header((CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .body(asset.text))
}
