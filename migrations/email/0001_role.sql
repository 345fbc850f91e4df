-- Roles are the whole server's: another database of it may have made this one.
do $$ begin
    create role waybill_email login;
exception when duplicate_object or unique_violation then null;
end $$;
grant usage on schema email to waybill_email;

select log.grant_topic('order', 'consume', 'waybill_email');
select log.grant_topic('shipment', 'consume', 'waybill_email');
select log.grant_topic('invoice', 'consume', 'waybill_email');
select log.grant_topic('promotion', 'consume', 'waybill_email');
select log.grant_topic('promotion', 'publish', 'waybill_email');
select log.grant_topic('mail', 'publish', 'waybill_email');
