package activerecord

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	mysqldriver "github.com/go-sql-driver/mysql"
)

const mysqlLock = "CONCAT('stompserver.', LEFT(DATABASE(), 50))"

var mysqlDialect = dialect{
	open: openMySQL,
	create: []string{
		"CREATE TABLE IF NOT EXISTS ar_messages (id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY, stomp_id varchar(255) NOT NULL, frame longtext NOT NULL) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
		"CREATE TABLE IF NOT EXISTS stompserver_queues (name varbinary(255) NOT NULL PRIMARY KEY, last bigint NOT NULL, marked bigint NOT NULL) ENGINE=InnoDB",
		serverTable + " ENGINE=InnoDB",
		"CREATE TABLE IF NOT EXISTS stompserver_copies (queue varbinary(255) NOT NULL, seq bigint NOT NULL, message bigint NOT NULL, size bigint, attempts int NOT NULL, stored longblob, checksum bigint, PRIMARY KEY (queue, seq)) ENGINE=InnoDB",
	},
	columns: [...]string{"varbinary(255)", "bigint", "bigint", "int", "longblob", "bigint"},
	index:   []string{"CREATE INDEX stompserver_place ON ar_messages (queue, seq, size)", "CREATE INDEX stompserver_copied ON stompserver_copies (message)"},
	upsert:  "INSERT INTO stompserver_queues (name, last, marked) VALUES (?, ?, ?) ON DUPLICATE KEY UPDATE last = VALUES(last), marked = VALUES(marked)",
	newest:  "LAST_INSERT_ID()",
	release: "DELETE m FROM stompserver_copies c STRAIGHT_JOIN ar_messages m ON m.id = c.message WHERE c.queue = ? AND NOT EXISTS (" + otherCopy + ") AND ",
	begin:   "START TRANSACTION",
	bytes:   "CAST(m.frame AS BINARY)",
	scanned: scannedBy("LENGTH"),
	longest: 1 << 30,
	name:    255,
	lock: func(ctx context.Context, c *sql.Conn) (bool, error) {
		var got sql.NullInt64
		err := c.QueryRowContext(ctx, "SELECT GET_LOCK("+mysqlLock+", 0)").Scan(&got)
		return got.Int64 == 1, err
	},
	unlock: "DO RELEASE_LOCK(" + mysqlLock + ")",
	me:     "SELECT CONNECTION_ID()",
	end:    "KILL ?",
	settle: settleMySQL,
	batch:  together,
	large:  concatenate,
	alone:  aloneOfServer,
	limit: func(ctx context.Context, c *sql.Conn) (n int, err error) {
		err = c.QueryRowContext(ctx, "SELECT @@max_allowed_packet").Scan(&n)
		return n, err
	},
}

func openMySQL(d Database, _ bool) (*sql.DB, error) {
	c := mysqldriver.NewConfig()
	c.User, c.Passwd, c.DBName = d.Username, d.Password, d.Database
	switch {
	case strings.HasPrefix(d.Host, "/"):
		c.Net, c.Addr = "unix", d.Host
	case d.Socket != "" && (d.Host == "" || d.Host == "localhost"):
		c.Net, c.Addr = "unix", d.Socket
	default:
		host, port := d.Host, d.Port
		if host == "" {
			host = "127.0.0.1"
		}
		if port == "" {
			port = "3306"
		}
		c.Net, c.Addr = "tcp", net.JoinHostPort(host, port)
	}
	c.Timeout = 10 * time.Second
	c.InterpolateParams = true
	c.MultiStatements = true // see together
	c.MaxAllowedPacket = 0   // what the server says
	c.Collation = "utf8mb4_bin"
	c.Params = map[string]string{"sql_mode": "'STRICT_ALL_TABLES'"} // else it cuts what is too long
	c.Logger = &mysqldriver.NopLogger{}
	if err := mysqlTLS(d, c); err != nil {
		return nil, err
	}
	connector, err := mysqldriver.NewConnector(c)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

// mysqlTLS follows ssl_mode, sslca, sslcert and sslkey as mysql2 does.
func mysqlTLS(d Database, c *mysqldriver.Config) error {
	mode := strings.ReplaceAll(strings.ToLower(d.SSLMode), "-", "_")
	switch mode {
	case "disabled", "disable":
		return nil
	case "", "preferred", "prefer":
		if d.SSLCA+d.SSLCert+d.SSLKey == "" {
			if mode != "" {
				c.TLSConfig = "preferred"
			}
			return nil
		}
	case "required", "require", "verify_ca", "verify_identity", "verify_full":
	default:
		return fmt.Errorf("ssl_mode: %q is not disabled, preferred, required, verify_ca or verify_identity", d.SSLMode)
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: d.Host}
	if mode != "verify_identity" && mode != "verify_full" { // whatever its name is
		t.InsecureSkipVerify = true
		if d.SSLCA != "" || mode == "verify_ca" { // but not whoever it is
			t.VerifyConnection = func(cs tls.ConnectionState) error {
				between := x509.NewCertPool()
				for _, cert := range cs.PeerCertificates[1:] {
					between.AddCert(cert)
				}
				_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: t.RootCAs, Intermediates: between})
				return err
			}
		}
	}
	if d.SSLCA != "" {
		pem, err := os.ReadFile(d.SSLCA)
		if err != nil {
			return fmt.Errorf("sslca: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("sslca: %s holds no certificate", d.SSLCA)
		}
	}
	if d.SSLCert != "" || d.SSLKey != "" {
		pair, err := tls.LoadX509KeyPair(d.SSLCert, d.SSLKey)
		if err != nil {
			return fmt.Errorf("sslcert and sslkey: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	c.TLS = t
	return nil
}

// settleMySQL makes the frame of a table of Rails hold any size, and wants transactions.
func settleMySQL(ctx context.Context, c *sql.Conn, cfg *Config) error {
	var engine, kind string
	var flush int
	if err := c.QueryRowContext(ctx, `SELECT t.engine, c.data_type, @@innodb_flush_log_at_trx_commit FROM information_schema.tables t
		JOIN information_schema.columns c ON c.table_schema = t.table_schema AND c.table_name = t.table_name AND c.column_name = 'frame'
		WHERE t.table_schema = DATABASE() AND t.table_name = 'ar_messages'`).Scan(&engine, &kind, &flush); err != nil {
		return fmt.Errorf("ar_messages: %w", err)
	}
	if !strings.EqualFold(engine, "InnoDB") {
		return fmt.Errorf("the table ar_messages is of the engine %s, which has no transactions: ALTER TABLE ar_messages ENGINE = InnoDB", engine)
	}
	if flush != 1 && !cfg.NoSync {
		cfg.Log.Warn("the database may lose what was confirmed in a power cut: innodb_flush_log_at_trx_commit is not 1", "database", cfg.Database.String(), "is", flush)
	}
	if strings.EqualFold(kind, "longtext") {
		return nil
	}
	if _, err := c.ExecContext(ctx, "ALTER TABLE ar_messages MODIFY frame longtext CHARACTER SET utf8mb4 NOT NULL"); err != nil {
		return fmt.Errorf("the column frame, which is to hold frames of any size: %w", err)
	}
	return nil
}
