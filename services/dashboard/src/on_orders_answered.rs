//! Orders were answered: what their customers waited for, and all that they waited for.

use broker::{HandlerError, Transaction};
use chassis::{Received, Subscriber};
use contracts::{OrderAnswer, OrdersAnswered};

pub struct OnOrdersAnswered;

impl Subscriber for OnOrdersAnswered {
    type Event = OrdersAnswered;

    async fn handle(
        &self,
        tx: &mut Transaction,
        answered: &[Received<OrdersAnswered>],
    ) -> Result<(), HandlerError> {
        let answers: Vec<&OrderAnswer> =
            answered.iter().flat_map(|answered| &answered.answers).collect();
        sqlx::query(
            "insert into dashboard.request (order_id, answered_at, status, micros, replayed)
             select * from unnest($1::uuid[], $2::timestamptz[], $3::int[], $4::bigint[], $5::boolean[])
             on conflict do nothing",
        )
        .bind(answers.iter().map(|answer| answer.order_id).collect::<Vec<_>>())
        .bind(answers.iter().map(|answer| answer.answered_at).collect::<Vec<_>>())
        .bind(answers.iter().map(|answer| i32::from(answer.status)).collect::<Vec<_>>())
        .bind(answers.iter().map(|answer| answer.took_micros as i64).collect::<Vec<_>>())
        .bind(answers.iter().map(|answer| answer.replayed).collect::<Vec<_>>())
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}
