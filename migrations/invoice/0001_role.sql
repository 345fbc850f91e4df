-- Roles are the whole server's: another database of it may have made this one.
do $$ begin
    create role waybill_invoice login;
exception when duplicate_object or unique_violation then null;
end $$;
grant usage on schema invoice to waybill_invoice;

select log.grant_topic('order', 'consume', 'waybill_invoice');
select log.grant_topic('invoice', 'publish', 'waybill_invoice');
