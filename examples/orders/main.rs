//! Orders in a table of the program's own. A system function adds what the goods cost, a Python function refuses what
//! is too much for one customer, and a receipt is written after the order is saved.
//!
//! `cargo run -p tollgate --example orders -- FOLDER CUSTOMER ITEM QUANTITY` places one order and waits until its receipt
//! is there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;
use tollgate::python::Python;
use tollgate::rusqlite::{self, Connection, params};
use tollgate::{
    AroundError, LifecycleEvent, Operation, State, SubscriberOptions, SystemCall, Tollgate,
};

/// An order as it is proposed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, LifecycleEvent)]
#[event(
    name = "PRE_ORDER_CREATE",
    description = "Before an order is placed.",
    enrichable("price_cents", "note"),
    sample = lamp(),
    check = OrderProposal::check_price,
)]
struct OrderProposal {
    id: String,
    customer: String,
    item: String,
    quantity: u32,
    price_cents: Option<u32>,
    #[serde(default)]
    note: String,
}

/// An order that was placed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, LifecycleEvent)]
#[event(
    name = "POST_ORDER_CREATE",
    description = "After an order was placed.",
    sample = OrderPlaced::of(&lamp()),
)]
struct OrderPlaced {
    id: String,
    customer: String,
    price_cents: u32,
}

fn lamp() -> OrderProposal {
    OrderProposal {
        id: "0190".into(),
        customer: "ann".into(),
        item: "lamp".into(),
        quantity: 2,
        price_cents: None,
        note: String::new(),
    }
}

impl OrderProposal {
    fn check_price(&self) -> Result<(), String> {
        match self.price_cents {
            Some(0) => Err("nothing is for free".into()),
            _ => Ok(()),
        }
    }
}

impl OrderPlaced {
    fn of(order: &OrderProposal) -> Self {
        Self {
            id: order.id.clone(),
            customer: order.customer.clone(),
            price_cents: order.price_cents.unwrap_or_default(),
        }
    }
}

/// Adds what the goods cost.
#[tollgate::function]
async fn price(call: SystemCall) -> Result<Value, String> {
    let each = match call.params["item"].as_str() {
        Some("lamp") => 4_900,
        Some("sofa") => 89_900,
        item => {
            let told = format!("There is no {}", item.unwrap_or("such thing"));
            return Ok(json!({"success": false, "error": told}));
        }
    };
    let quantity = call.params["quantity"].as_u64().unwrap_or(1);
    Ok(json!({"params": {"price_cents": each * quantity}}))
}

/// Stands for what is slow, or on another machine: a letter, a payment.
#[tollgate::function]
async fn receipt(call: SystemCall) -> Result<Value, String> {
    call.log("INFO", format!("receipt for order {}", call.params["id"]));
    Ok(json!({"cents": call.params["price_cents"]}))
}

/// What one customer may order at once.
const LIMIT: &str = r#"
def main(params):
    if params["quantity"] > 10:
        return {
            "success": False,
            "error": f"{params['customer']} wants {params['quantity']}",
            "user_message": {"en": "At most 10 of one kind", "de": "Höchstens 10 von einer Art"},
        }
"#;

async fn open(folder: &str) -> Result<Tollgate, Box<dyn std::error::Error>> {
    let tollgate = Tollgate::builder()
        .sqlite(folder)
        .event::<OrderProposal>()
        .event::<OrderPlaced>()
        .function(price())
        .function(receipt())
        .python(Python::default())
        .start()
        .await?;
    tollgate
        .write(|tx| {
            tx.execute_batch(
                "CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, customer TEXT NOT NULL,
                 item TEXT NOT NULL, quantity INTEGER NOT NULL, price_cents INTEGER NOT NULL)",
            )
        })
        .await?;
    let app = tollgate.app("orders").await?;
    let first = SubscriberOptions {
        priority: -1,
        ..SubscriberOptions::default()
    };
    let id = app.system(price()).await?;
    tollgate.subscribe::<OrderProposal>(id, first).await?;
    let id = app.python("limit", LIMIT).await?;
    let options = SubscriberOptions::default();
    tollgate
        .subscribe::<OrderProposal>(id, options.clone())
        .await?;
    let id = app.system(receipt()).await?;
    tollgate.subscribe::<OrderPlaced>(id, options).await?;
    Ok(tollgate)
}

fn save(tx: &Connection, order: &OrderProposal) -> rusqlite::Result<String> {
    tx.execute(
        "INSERT INTO orders (id, customer, item, quantity, price_cents) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![order.id, order.customer, order.item, order.quantity, order.price_cents],
    )?;
    Ok(order.id.clone())
}

async fn place(folder: &str, order: OrderProposal) -> Result<(), Box<dyn std::error::Error>> {
    let tollgate = open(folder).await?;
    let customer = tollgate.actor(1, json!({"name": order.customer}));
    let operation = Operation::new(order, OrderPlaced::of);
    match tollgate.around(operation, &customer, save).await {
        Ok(id) => println!("placed {id}"),
        Err(AroundError::Refused(refusal)) => println!("refused: {refusal}"),
        Err(error) => return Err(error.into()),
    }
    let mut changes = tollgate.changes();
    loop {
        let runs = tollgate.runs(Some("receipt")).await?;
        if runs.iter().all(|run| run.state == State::Succeeded) {
            println!("receipts: {}", runs.len());
            break;
        }
        changes.next().await;
    }
    tollgate.stop(Duration::from_secs(5)).await;
    Ok(())
}

fn main() -> ExitCode {
    // Before any thread: this process may be the launcher of an interpreter.
    tollgate::python::launch_if_asked();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, customer, item, quantity] = arguments.as_slice() else {
        eprintln!("orders FOLDER CUSTOMER ITEM QUANTITY");
        return ExitCode::FAILURE;
    };
    let order = OrderProposal {
        id: format!("{customer}-{item}-{quantity}"),
        customer: customer.clone(),
        item: item.clone(),
        quantity: quantity.parse().unwrap_or(1),
        price_cents: None,
        note: String::new(),
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    match runtime.block_on(place(folder, order)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
