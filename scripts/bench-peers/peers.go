//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"stompserver/scripts/internal/trial"
)

// peers are the brokers compared, ours first.
var peers = []*peer{
	{
		key: "stompserver", title: "stompserver", scheme: "stomp", protocol: "1.2", startup: 10 * time.Second,
		prepare: func(context.Context, *options) error { return nil },
		command: func(o *options, dir string, port int) (*exec.Cmd, error) {
			return exec.Command(o.tool, "-p", strconv.Itoa(port), "-b", "127.0.0.1", "-w", dir), nil
		},
		version: func(o *options) string { return trial.FirstLine(o.tool, "version") },
	},
	{
		key: "nats", title: "nats-server", scheme: "nats", startup: 10 * time.Second,
		prepare: func(context.Context, *options) error { return trial.Needs("nats-server") },
		command: func(_ *options, dir string, port int) (*exec.Cmd, error) {
			conf := filepath.Join(dir, "nats.conf")
			text := fmt.Sprintf("listen: 127.0.0.1:%d\nmax_payload: 64MB\nmax_pending: 256MB\nmax_connections: 100000\n", port)
			return exec.Command("nats-server", "-c", conf), os.WriteFile(conf, []byte(text), 0o600)
		},
		version: func(*options) string { return trial.FirstLine("nats-server", "--version") },
		without: func(row string) string {
			if row == "acks" || row == "receipts" {
				return "no acks"
			}
			return ""
		},
	},
	{
		key: "gostomp", title: "go-stomp server", scheme: "stomp", protocol: "1.1", startup: 10 * time.Second,
		prepare: func(ctx context.Context, o *options) error {
			return trial.Do(ctx, filepath.Join(o.root, "scripts", "bench-peers", "gostomp"), "go", "build", "-o", filepath.Join(o.dir, "gostomp"), ".")
		},
		command: func(o *options, _ string, port int) (*exec.Cmd, error) {
			return exec.Command(filepath.Join(o.dir, "gostomp"), fmt.Sprintf("127.0.0.1:%d", port)), nil
		},
		without: func(row string) string {
			if row == "acks" {
				return "its ACKs settle nothing" // it compares them with a number that is never set
			}
			return ""
		},
		version: func(o *options) string {
			return "go-stomp " + trial.FirstLine("sed", "-n", "s/.*go-stomp\\/stomp\\/v3 //p", filepath.Join(o.root, "scripts", "bench-peers", "gostomp", "go.mod"))
		},
	},
	{
		key: "ruby", title: "Ruby stompserver", scheme: "stomp", protocol: "1.0", startup: 10 * time.Second,
		prepare: func(context.Context, *options) error { return trial.Needs("ruby", "/usr/bin/stompserver") },
		command: func(o *options, dir string, port int) (*exec.Cmd, error) {
			patch := filepath.Join(o.root, "scripts", "bench-peers", "ruby_stompserver.rb")
			return exec.Command("ruby", "-W0", "-r", patch, "/usr/bin/stompserver", "-p", strconv.Itoa(port), "-w", dir), nil
		},
		version: func(*options) string {
			return "stompserver " + trial.DebianVersion("stompserver") + ", " + trial.FirstLine("ruby", "--version")
		},
		without: func(row string) string {
			if row == "acks" {
				return "no such mode"
			}
			return ""
		},
	},
	{
		key: "rabbitmq", title: "RabbitMQ", scheme: "stomp", path: "/%2F", protocol: "1.2", startup: time.Minute, children: true,
		prepare: func(context.Context, *options) error {
			return trial.Needs("epmd", "/usr/lib/rabbitmq/bin/rabbitmq-server")
		},
		command: rabbitmq,
		version: func(*options) string { return "rabbitmq-server " + trial.DebianVersion("rabbitmq-server") },
	},
	{
		key: "activemq", title: "ActiveMQ", scheme: "stomp", protocol: "1.2", startup: time.Minute, warmup: 15 * time.Second,
		prepare: func(context.Context, *options) error {
			return trial.Needs("java", "/usr/share/activemq/bin/activemq.jar")
		},
		command: activemq,
		version: func(*options) string {
			return "activemq " + trial.DebianVersion("activemq") + ", " + trial.FirstLine("java", "-version")
		},
	},
}

// rabbitmq runs a node of its own: name, ports, cookie and database are in dir, and so is
// its port mapper, which otherwise would outlive it.
func rabbitmq(_ *options, dir string, port int) (*exec.Cmd, error) {
	dist, err := trial.FreePort()
	if err != nil {
		return nil, err
	}
	mapper, err := trial.FreePort()
	if err != nil {
		return nil, err
	}
	files := map[string]string{
		"rabbitmq.conf": fmt.Sprintf("listeners.tcp = none\nstomp.listeners.tcp.1 = 127.0.0.1:%d\nstomp.default_user = guest\nstomp.default_pass = guest\n"+
			"stomp.implicit_connect = false\nlog.console = false\nlog.file.level = error\n", port),
		"enabled_plugins": "[rabbitmq_stomp].\n",
		"rabbitmq-env":    "",
		"run": fmt.Sprintf("epmd -address 127.0.0.1 -port %d &\n/usr/lib/rabbitmq/bin/rabbitmq-server &\n"+
			"trap 'kill $(jobs -p); wait' TERM INT\nwait\n", mapper),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command("/bin/sh", filepath.Join(dir, "run"))
	cmd.Env = append(os.Environ(),
		"HOME="+dir,
		"ERL_EPMD_PORT="+strconv.Itoa(mapper), "ERL_EPMD_ADDRESS=127.0.0.1",
		"RABBITMQ_NODENAME=bench-peers@localhost",
		"RABBITMQ_DIST_PORT="+strconv.Itoa(dist),
		"RABBITMQ_CONF_ENV_FILE="+filepath.Join(dir, "rabbitmq-env"),
		"RABBITMQ_CONFIG_FILE="+filepath.Join(dir, "rabbitmq.conf"),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+filepath.Join(dir, "enabled_plugins"),
		"RABBITMQ_MNESIA_BASE="+filepath.Join(dir, "mnesia"),
		"RABBITMQ_LOG_BASE="+filepath.Join(dir, "log"),
		"RABBITMQ_PID_FILE="+filepath.Join(dir, "pid"),
	)
	return cmd, nil
}

// activemq runs a broker without persistence, on the connector that was the faster one here.
func activemq(_ *options, dir string, port int) (*exec.Cmd, error) {
	conf := filepath.Join(dir, "activemq.xml")
	text := fmt.Sprintf(`<beans xmlns="http://www.springframework.org/schema/beans"
  xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
  xsi:schemaLocation="http://www.springframework.org/schema/beans http://www.springframework.org/schema/beans/spring-beans-2.0.xsd
  http://activemq.apache.org/schema/core http://activemq.apache.org/schema/core/activemq-core.xsd">
  <broker xmlns="http://activemq.apache.org/schema/core" brokerName="bench" useJmx="false" persistent="false" useShutdownHook="true" dataDirectory="%s">
    <transportConnectors>
      <transportConnector name="stomp" uri="stomp://127.0.0.1:%d?maximumConnections=100000"/>
    </transportConnectors>
  </broker>
</beans>
`, filepath.Join(dir, "data"), port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return exec.Command("java", "-Xms1G", "-Xmx2G", "-Dactivemq.home=/usr/share/activemq", "-Dactivemq.base="+dir, "-Dactivemq.conf="+dir,
		"-Dactivemq.data="+filepath.Join(dir, "data"), "-Djava.io.tmpdir="+dir,
		"-jar", "/usr/share/activemq/bin/activemq.jar", "start", "xbean:file:"+conf), nil
}
