-- Roles are the whole server's: another database of it may have made this one.
do $$ begin
    create role waybill_delivery login;
exception when duplicate_object or unique_violation then null;
end $$;
grant usage on schema delivery to waybill_delivery;

select log.grant_topic('order', 'consume', 'waybill_delivery');
select log.grant_topic('shipment', 'publish', 'waybill_delivery');
