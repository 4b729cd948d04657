// Package kafkatest starts a real Apache Kafka broker (KRaft, one node, on
// loopback) for tests. Its Java archives are those of pom.xml; `make test`
// fetches them into the user's cache folder.
package kafkatest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/require"
)

// Version is the broker's version, as in pom.xml.
const Version = "3.9.1"

// Libs is the folder in which the broker's archives are looked for.
func Libs() string {
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(cache, "offpath", "kafka-"+Version)
}

// Start starts a broker that ends with the test and returns its address. Where
// Java or the archives are missing the test is skipped, in CI it fails.
func Start(t testing.TB) string {
	t.Helper()
	java, err := exec.LookPath("java")
	archives, _ := filepath.Glob(filepath.Join(Libs(), "*.jar"))
	if err != nil || len(archives) == 0 {
		message := fmt.Sprintf("no kafka broker: java: %v, %d archives in %s (`make test` fetches them)", err, len(archives), Libs())
		if os.Getenv("CI") != "" {
			t.Fatal(message)
		}
		t.Skip(message)
	}
	dir := t.TempDir()
	broker, controller := freePort(t), freePort(t)
	address := fmt.Sprintf("127.0.0.1:%d", broker)
	config := filepath.Join(dir, "server.properties")
	require.NoError(t, os.WriteFile(config, []byte(fmt.Sprintf(`process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:%[1]d
listeners=PLAINTEXT://%[2]s,CONTROLLER://127.0.0.1:%[1]d
advertised.listeners=PLAINTEXT://%[2]s
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=%[3]s
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
default.replication.factor=1
group.initial.rebalance.delay.ms=0
`, controller, address, filepath.Join(dir, "data"))), 0o600))

	run := func(args ...string) *exec.Cmd {
		cmd := exec.Command(java, append([]string{
			"-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
			"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", filepath.Join(Libs(), "*"),
		}, args...)...)
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
		return cmd
	}
	out, err := run("kafka.tools.StorageTool", "format", "-t", "b2ZmcGF0aC10ZXN0LWtyYQ", "-c", config).CombinedOutput()
	require.NoError(t, err, string(out))

	logFile, err := os.Create(filepath.Join(dir, "broker.log"))
	require.NoError(t, err)
	cmd := run("kafka.Kafka", config)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = logFile.Close()
	})

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client := &kafka.Client{Addr: kafka.TCP(address), Timeout: time.Second}
	for {
		meta, err := client.Metadata(ctx, &kafka.MetadataRequest{})
		if err == nil && len(meta.Brokers) == 1 {
			return address
		}
		if ctx.Err() != nil {
			log, _ := os.ReadFile(logFile.Name())
			t.Fatalf("the kafka broker did not come up: %v\n%s", err, lastLines(string(log), 30))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
