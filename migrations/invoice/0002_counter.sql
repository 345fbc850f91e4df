-- The numbers that are taken. A transaction that numbers documents holds this row until it
-- commits, so that one that rolls back leaves no gap; a sequence would. One row for both
-- series, so that no two transactions can wait for each other's.
create table invoice.counter (
    only_row boolean primary key default true check (only_row),
    -- The date of the newest document, in UTC. It never goes back: numbers and dates ascend
    -- together, and a number's year is its document's.
    issued_on date not null,
    -- The last number of that year in each series; 0 before the first.
    invoices bigint not null,
    credit_notes bigint not null
);
insert into invoice.counter (issued_on, invoices, credit_notes) values ('2000-01-01', 0, 0);

grant select, update on invoice.counter to waybill_invoice;
