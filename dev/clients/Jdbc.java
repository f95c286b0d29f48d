// The Avatica JDBC driver against a server that holds the rows of clients.py: java -cp ... Jdbc.java http://127.0.0.1:8888
import java.sql.*;
import java.util.*;

public class Jdbc {
  static void equal(Object found, Object expected, String what) {
    if (!Objects.equals(found, expected)) {
      throw new AssertionError(what + ": " + found + ", expected " + expected);
    }
  }

  public static void main(String[] arguments) throws Exception {
    Class.forName("org.apache.calcite.avatica.remote.Driver");
    TimeZone.setDefault(TimeZone.getTimeZone("UTC"));
    run(arguments[0] + "/druid/v2/sql/avatica/;serialization=json", "json");
    run(arguments[0] + "/druid/v2/sql/avatica-protobuf/;serialization=protobuf", "protobuf");
  }

  static void run(String url, String encoding) throws Exception {
    try (Connection connection = DriverManager.getConnection("jdbc:avatica:remote:url=" + url, new Properties())) {
      try (Statement statement = connection.createStatement()) {
        ResultSet rows = statement.executeQuery(
            "SELECT __time, k, n, d, CAST(NULL AS VARCHAR) AS nothing, n > 1 AS more, ARRAY[n, 7] AS pair "
                + "FROM clients WHERE n < 3 ORDER BY __time");
        List<String> types = new ArrayList<>();
        for (int column = 1; column <= rows.getMetaData().getColumnCount(); column++) {
          types.add(rows.getMetaData().getColumnTypeName(column));
        }
        equal(types, List.of("TIMESTAMP", "VARCHAR", "BIGINT", "DOUBLE", "VARCHAR", "BOOLEAN", "ARRAY"), "types");
        for (long n = 0; n < 3; n++) {
          equal(rows.next(), true, "row " + n);
          equal(rows.getTimestamp(1).getTime(), n * 1000, "time");
          equal(rows.getString(2), "k" + n, "text");
          equal(rows.getLong(3), n, "long");
          equal(rows.getDouble(4), n / 4.0, "double");
          equal(rows.getString(5), null, "null");
          equal(rows.getBoolean(6), n > 1, "boolean");
          Object[] pair = (Object[]) rows.getArray(7).getArray();
          equal(((Number) pair[0]).longValue(), n, "array");
        }
        equal(rows.next(), false, "the end");
      }
      try (Statement statement = connection.createStatement()) {
        ResultSet rows = statement.executeQuery("SELECT n FROM clients ORDER BY __time");
        long seen = 0;
        while (rows.next()) {
          equal(rows.getLong(1), seen, "row");
          seen++;
        }
        equal(seen, 12_000L, "rows over several frames");
      }
      try (PreparedStatement statement =
          connection.prepareStatement("SELECT COUNT(*) FROM clients WHERE k = ? AND n >= ?")) {
        for (long from : new long[] {0, 6000}) {
          statement.setString(1, "k1");
          statement.setLong(2, from);
          ResultSet rows = statement.executeQuery();
          rows.next();
          equal(rows.getLong(1), from == 0 ? 2400L : 1200L, "rows of k1 from " + from);
        }
      }
      try (Statement statement = connection.createStatement()) {
        statement.executeQuery("SELECT nope FROM clients");
        throw new AssertionError("an unknown column was taken");
      } catch (SQLException error) {
        equal(error.getMessage().contains("nope"), true, error.getMessage());
      }
      DatabaseMetaData metadata = connection.getMetaData();
      ResultSet tables = metadata.getTables(null, "druid", "cl%", null);
      equal(tables.next(), true, "a table");
      equal(tables.getString("TABLE_NAME"), "clients", "table");
      ResultSet columns = metadata.getColumns(null, "druid", "clients", "%");
      Map<String, Integer> found = new TreeMap<>();
      while (columns.next()) {
        found.put(columns.getString("COLUMN_NAME"), columns.getInt("DATA_TYPE"));
      }
      equal(found, new TreeMap<>(Map.of("__time", 93, "k", 12, "n", -5, "d", 8)), "columns");
    }
    System.out.println("JDBC driver, " + encoding + ": ok");
  }
}
