-- Roles are the whole server's: another database of it may have made this one.
do $$ begin
    create role waybill_order login;
exception when duplicate_object or unique_violation then null;
end $$;
grant usage on schema orders to waybill_order;

-- It hears its own events back, to tell an order's story in one place.
select log.grant_topic('order', p, 'waybill_order') from unnest(array['publish', 'consume']) p;
select log.grant_topic(t, 'consume', 'waybill_order') from unnest(array['shipment', 'invoice', 'mail']) t;
