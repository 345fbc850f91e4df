//! The prices: read at the start and every few seconds, so that an order costs no query.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context;
use sqlx::PgPool;
use tokio::sync::watch;
use tracing::warn;

use crate::domain::Product;
use crate::store;

const REFRESH: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub struct Catalogue {
    pool: PgPool,
    products: Arc<RwLock<Arc<BTreeMap<String, Product>>>>,
}

impl Catalogue {
    pub async fn load(pool: PgPool) -> anyhow::Result<Catalogue> {
        let products = read(&pool).await.context("the catalogue cannot be read")?;
        Ok(Catalogue { pool, products: Arc::new(RwLock::new(Arc::new(products))) })
    }

    pub fn products(&self) -> Arc<BTreeMap<String, Product>> {
        self.products.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub async fn keep_fresh(self, mut stopping: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(REFRESH) => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
            match read(&self.pool).await {
                Ok(products) => {
                    *self.products.write().unwrap_or_else(PoisonError::into_inner) =
                        Arc::new(products);
                }
                Err(error) => warn!("the catalogue stays as it is: {error}"),
            }
        }
    }
}

async fn read(pool: &PgPool) -> sqlx::Result<BTreeMap<String, Product>> {
    let products = store::products(pool).await?;
    Ok(products.into_iter().map(|product| (product.sku.clone(), product)).collect())
}
