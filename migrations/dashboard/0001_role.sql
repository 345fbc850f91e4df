-- Roles are the whole server's: another database of it may have made this one.
do $$ begin
    create role waybill_dashboard login;
exception when duplicate_object or unique_violation then null;
end $$;
grant usage on schema dashboard to waybill_dashboard;

select log.grant_topic(t, 'consume', 'waybill_dashboard')
  from unnest(array['order', 'shipment', 'invoice', 'mail', 'promotion']) t;
-- It shows every group and topic of the log, and moves them for whoever has its token.
select log.grant_operator('waybill_dashboard');
