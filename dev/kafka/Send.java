import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.serialization.StringSerializer;

/** Sends each line of standard input to a topic, which is made if there is none: java -cp 'libs/*' Send.java HOST:PORT TOPIC [PARTITIONS] */
public class Send {
    public static void main(String[] arguments) throws Exception {
        String topic = arguments[1];
        int partitions = arguments.length > 2 ? Integer.parseInt(arguments[2]) : 1;
        Map<String, Object> settings = Map.of("bootstrap.servers", arguments[0], "acks", "all");
        try (Admin admin = Admin.create(settings)) {
            admin.createTopics(List.of(new NewTopic(topic, Optional.of(partitions), Optional.empty()))).all().get();
        } catch (ExecutionException error) {
            if (!(error.getCause() instanceof TopicExistsException)) throw error;
        }
        long sent = 0;
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
                var lines = new BufferedReader(new InputStreamReader(System.in))) {
            for (String line; (line = lines.readLine()) != null; sent++) {
                // Lines go to the partitions in turn, so that each has some.
                producer.send(new ProducerRecord<>(topic, (int) (sent % partitions), null, line), (metadata, error) -> {
                    if (error != null) {
                        System.err.println("not sent: " + error);
                        System.exit(1);
                    }
                });
            }
        }
        System.err.println(sent + " lines sent to " + topic);
    }
}
