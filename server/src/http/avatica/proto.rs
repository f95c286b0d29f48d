//! The messages of Avatica's protobuf, with the field numbers of `common.proto`, `requests.proto` and `responses.proto` of Apache
//! Calcite Avatica. Only fields that are read or written are declared; others are skipped, as protobuf does.

/// What wraps every message.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Wire {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(bytes = "vec", tag = "2")]
    pub wrapped: Vec<u8>,
}

/// The fields of every request that name a connection outermost, by the places they have there.
pub mod asked {
    use std::collections::HashMap;

    use super::wire;

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Connection {
        #[prost(string, tag = "1")]
        pub connection_id: String,
        #[prost(map = "string, string", tag = "2")]
        pub info: HashMap<String, String>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Sync {
        #[prost(string, tag = "1")]
        pub connection_id: String,
        #[prost(message, optional, tag = "2")]
        pub props: Option<wire::Props>,
    }

    /// CloseStatementRequest and SyncResultsRequest.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Statement {
        #[prost(string, tag = "1")]
        pub connection_id: String,
        #[prost(uint32, tag = "2")]
        pub statement_id: u32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct PrepareAndExecute {
        #[prost(string, tag = "1")]
        pub connection_id: String,
        #[prost(string, tag = "2")]
        pub sql: String,
        #[prost(uint64, tag = "3")]
        pub max_row_count: u64,
        #[prost(uint32, tag = "4")]
        pub statement_id: u32,
        #[prost(int64, tag = "5")]
        pub max_rows_total: i64,
        #[prost(int32, tag = "6")]
        pub first_frame_max_size: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Prepare {
        #[prost(string, tag = "1")]
        pub connection_id: String,
        #[prost(string, tag = "2")]
        pub sql: String,
        #[prost(int64, tag = "4")]
        pub max_rows_total: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Execute {
        #[prost(message, optional, tag = "1")]
        pub handle: Option<wire::Handle>,
        #[prost(message, repeated, tag = "2")]
        pub values: Vec<wire::TypedValue>,
        #[prost(int32, tag = "5")]
        pub first_frame_max_size: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Fetch {
        #[prost(string, tag = "1")]
        pub connection_id: String,
        #[prost(uint32, tag = "2")]
        pub statement_id: u32,
        #[prost(uint64, tag = "3")]
        pub offset: u64,
        #[prost(uint32, tag = "4")]
        pub fetch_max_row_count: u32,
        #[prost(int32, tag = "5")]
        pub frame_max_size: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Schemas {
        #[prost(string, tag = "1")]
        pub catalog: String,
        #[prost(string, tag = "2")]
        pub schema: String,
        #[prost(string, tag = "3")]
        pub connection_id: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Tables {
        #[prost(string, tag = "1")]
        pub catalog: String,
        #[prost(string, tag = "2")]
        pub schema: String,
        #[prost(string, tag = "3")]
        pub table: String,
        #[prost(string, repeated, tag = "4")]
        pub types: Vec<String>,
        #[prost(bool, tag = "6")]
        pub has_types: bool,
        #[prost(string, tag = "7")]
        pub connection_id: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Columns {
        #[prost(string, tag = "1")]
        pub catalog: String,
        #[prost(string, tag = "2")]
        pub schema: String,
        #[prost(string, tag = "3")]
        pub table: String,
        #[prost(string, tag = "4")]
        pub column: String,
        #[prost(string, tag = "5")]
        pub connection_id: String,
    }
}

/// What requests and responses are made of.
pub mod wire {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Props {
        #[prost(bool, tag = "2")]
        pub auto_commit: bool,
        #[prost(bool, tag = "7")]
        pub has_auto_commit: bool,
        #[prost(bool, tag = "3")]
        pub read_only: bool,
        #[prost(bool, tag = "8")]
        pub has_read_only: bool,
        #[prost(uint32, tag = "4")]
        pub transaction_isolation: u32,
        #[prost(string, tag = "5")]
        pub catalog: String,
        #[prost(string, tag = "6")]
        pub schema: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Handle {
        #[prost(string, tag = "1")]
        pub connection_id: String,
        #[prost(uint32, tag = "2")]
        pub id: u32,
        #[prost(message, optional, tag = "3")]
        pub signature: Option<Signature>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Signature {
        #[prost(message, repeated, tag = "1")]
        pub columns: Vec<Column>,
        #[prost(string, tag = "2")]
        pub sql: String,
        #[prost(message, repeated, tag = "3")]
        pub parameters: Vec<Parameter>,
        #[prost(message, optional, tag = "4")]
        pub cursor_factory: Option<CursorFactory>,
        /// 0 is SELECT.
        #[prost(int32, tag = "5")]
        pub statement_type: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct CursorFactory {
        #[prost(int32, tag = "1")]
        pub style: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Column {
        #[prost(uint32, tag = "1")]
        pub ordinal: u32,
        #[prost(bool, tag = "3")]
        pub case_sensitive: bool,
        #[prost(uint32, tag = "6")]
        pub nullable: u32,
        #[prost(bool, tag = "7")]
        pub signed: bool,
        #[prost(string, tag = "9")]
        pub label: String,
        #[prost(string, tag = "10")]
        pub column_name: String,
        #[prost(bool, tag = "16")]
        pub read_only: bool,
        #[prost(string, tag = "19")]
        pub column_class_name: String,
        #[prost(message, optional, tag = "20")]
        pub of_type: Option<Type>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Type {
        #[prost(uint32, tag = "1")]
        pub id: u32,
        #[prost(string, tag = "2")]
        pub name: String,
        #[prost(int32, tag = "3")]
        pub rep: i32,
        #[prost(message, optional, boxed, tag = "5")]
        pub component: Option<Box<Type>>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Parameter {
        #[prost(bool, tag = "1")]
        pub signed: bool,
        #[prost(uint32, tag = "4")]
        pub parameter_type: u32,
        #[prost(string, tag = "5")]
        pub type_name: String,
        #[prost(string, tag = "6")]
        pub class_name: String,
        #[prost(string, tag = "7")]
        pub name: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Frame {
        #[prost(uint64, tag = "1")]
        pub offset: u64,
        #[prost(bool, tag = "2")]
        pub done: bool,
        #[prost(message, repeated, tag = "3")]
        pub rows: Vec<Row>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Row {
        #[prost(message, repeated, tag = "1")]
        pub values: Vec<ColumnValue>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ColumnValue {
        #[prost(message, repeated, tag = "2")]
        pub array: Vec<TypedValue>,
        #[prost(bool, tag = "3")]
        pub has_array: bool,
        #[prost(message, optional, tag = "4")]
        pub scalar: Option<TypedValue>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct TypedValue {
        #[prost(int32, tag = "1")]
        pub rep: i32,
        #[prost(bool, tag = "2")]
        pub bool_value: bool,
        #[prost(string, tag = "3")]
        pub string_value: String,
        #[prost(sint64, tag = "4")]
        pub number_value: i64,
        #[prost(double, tag = "6")]
        pub double_value: f64,
        #[prost(bool, tag = "7")]
        pub null: bool,
        #[prost(message, repeated, tag = "8")]
        pub array: Vec<TypedValue>,
        #[prost(int32, tag = "9")]
        pub component_rep: i32,
        #[prost(bool, tag = "10")]
        pub implicitly_null: bool,
    }
}

pub mod answered {
    use super::wire;

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ServedBy {
        #[prost(string, tag = "1")]
        pub server_address: String,
    }

    /// OpenConnectionResponse, CloseConnectionResponse and CloseStatementResponse.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Done {
        #[prost(message, optional, tag = "1")]
        pub metadata: Option<ServedBy>,
    }

    /// DatabasePropertyResponse, of which there are none.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Properties {
        #[prost(message, optional, tag = "2")]
        pub metadata: Option<ServedBy>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Sync {
        #[prost(message, optional, tag = "1")]
        pub props: Option<wire::Props>,
        #[prost(message, optional, tag = "2")]
        pub metadata: Option<ServedBy>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Statement {
        #[prost(string, tag = "1")]
        pub connection_id: String,
        #[prost(uint32, tag = "2")]
        pub statement_id: u32,
        #[prost(message, optional, tag = "3")]
        pub metadata: Option<ServedBy>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Prepare {
        #[prost(message, optional, tag = "1")]
        pub statement: Option<wire::Handle>,
        #[prost(message, optional, tag = "2")]
        pub metadata: Option<ServedBy>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ResultSet {
        #[prost(string, tag = "1")]
        pub connection_id: String,
        #[prost(uint32, tag = "2")]
        pub statement_id: u32,
        #[prost(bool, tag = "3")]
        pub own_statement: bool,
        #[prost(message, optional, tag = "4")]
        pub signature: Option<wire::Signature>,
        #[prost(message, optional, tag = "5")]
        pub first_frame: Option<wire::Frame>,
        #[prost(uint64, tag = "6")]
        pub update_count: u64,
        #[prost(message, optional, tag = "7")]
        pub metadata: Option<ServedBy>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Execute {
        #[prost(message, repeated, tag = "1")]
        pub results: Vec<ResultSet>,
        #[prost(bool, tag = "2")]
        pub missing_statement: bool,
        #[prost(message, optional, tag = "3")]
        pub metadata: Option<ServedBy>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Fetch {
        #[prost(message, optional, tag = "1")]
        pub frame: Option<wire::Frame>,
        #[prost(bool, tag = "2")]
        pub missing_statement: bool,
        #[prost(bool, tag = "3")]
        pub missing_results: bool,
        #[prost(message, optional, tag = "4")]
        pub metadata: Option<ServedBy>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct SyncResults {
        #[prost(bool, tag = "1")]
        pub missing_statement: bool,
        #[prost(bool, tag = "2")]
        pub more_results: bool,
        #[prost(message, optional, tag = "3")]
        pub metadata: Option<ServedBy>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Nothing {}

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Error {
        #[prost(string, repeated, tag = "1")]
        pub exceptions: Vec<String>,
        #[prost(bool, tag = "7")]
        pub has_exceptions: bool,
        #[prost(string, tag = "2")]
        pub error_message: String,
        #[prost(int32, tag = "3")]
        pub severity: i32,
        #[prost(uint32, tag = "4")]
        pub error_code: u32,
        #[prost(string, tag = "5")]
        pub sql_state: String,
        #[prost(message, optional, tag = "6")]
        pub metadata: Option<ServedBy>,
    }
}
