// The Arrow Flight SQL JDBC driver against a server that holds the rows of clients.py:
// java --add-opens=java.base/java.nio=ALL-UNNAMED -cp ... FlightJdbc.java 127.0.0.1:8888 PASSWORD
import java.sql.*;
import java.util.*;

public class FlightJdbc {
  static void equal(Object found, Object expected, String what) {
    if (!Objects.equals(found, expected)) {
      throw new AssertionError(what + ": " + found + ", expected " + expected);
    }
  }

  public static void main(String[] arguments) throws Exception {
    TimeZone.setDefault(TimeZone.getTimeZone("UTC"));
    String url = "jdbc:arrow-flight-sql://" + arguments[0] + "/?useEncryption=false&user=admin&password=" + arguments[1];
    try (Connection connection = DriverManager.getConnection(url)) {
      try (Statement statement = connection.createStatement()) {
        ResultSet rows = statement.executeQuery("SELECT __time, k, n, d, n > 1 AS more FROM clients ORDER BY __time");
        long seen = 0;
        while (rows.next()) {
          equal(rows.getTimestamp(1).getTime(), seen * 1000, "time");
          equal(rows.getString(2), "k" + seen % 5, "text");
          equal(rows.getLong(3), seen, "long");
          equal(rows.getDouble(4), seen / 4.0, "double");
          equal(rows.getBoolean(5), seen > 1, "boolean");
          seen++;
        }
        equal(seen, 12_000L, "rows");
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
      equal(metadata.getDatabaseProductName(), "Henge", "name");
      // The driver counts what is left open.
      try (ResultSet tables = metadata.getTables(null, "druid", "cl%", null)) {
        equal(tables.next(), true, "a table");
        equal(tables.getString("TABLE_NAME"), "clients", "table");
      }
      Set<String> found = new TreeSet<>();
      try (ResultSet columns = metadata.getColumns(null, "druid", "clients", "%")) {
        while (columns.next()) {
          found.add(columns.getString("COLUMN_NAME"));
        }
      }
      equal(found, new TreeSet<>(List.of("__time", "k", "n", "d")), "columns");
      try (ResultSet keys = metadata.getPrimaryKeys(null, "druid", "clients")) {
        equal(keys.next(), false, "keys");
      }
    }
    System.out.println("JDBC driver of Flight SQL: ok");
  }
}
