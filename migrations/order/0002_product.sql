create table orders.product (
    sku text primary key check (sku ~ '^[A-Z0-9-]{1,32}$'),
    name text not null,
    -- Net price of one, in minor units.
    unit_price bigint not null check (unit_price between 0 and 100000000),
    currency text not null default 'EUR' check (currency = 'EUR'),
    -- Basis points: 1900 is 19 %.
    tax_rate int not null check (tax_rate between 0 and 10000)
);
insert into orders.product (sku, name, unit_price, tax_rate) values
    ('TEA-EARL-GREY', 'Earl Grey, 250 g', 1240, 700),
    ('TEA-SENCHA', 'Sencha, 100 g', 1590, 700),
    ('COFFEE-YIRGACHEFFE', 'Yirgacheffe coffee, 500 g', 1480, 700),
    ('POT-CAST-IRON', 'Cast-iron teapot, 0.8 l', 5990, 1900),
    ('CUP-PORCELAIN', 'Porcelain cup', 1190, 1900),
    ('KETTLE-GOOSENECK', 'Gooseneck kettle, 1 l', 8450, 1900),
    ('BOOK-TEA', 'The Story of Tea', 2430, 700),
    ('GIFT-CARD-25', 'Gift card, 25 EUR', 2500, 0);

grant select on orders.product to waybill_order;
