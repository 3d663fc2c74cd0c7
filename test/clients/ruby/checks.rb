# The checks of test/clients with the stomp gem. See ../doc.go for what each one means.

require "stomp"
require "timeout"
require "socket"

HOST = ENV.fetch("STOMP_HOST")
PORT = ENV.fetch("STOMP_PORT").to_i
LOGIN = ENV.fetch("STOMP_LOGIN", "guest")
PASSCODE = ENV.fetch("STOMP_PASSCODE", "guest")
VHOST = ENV.fetch("STOMP_VHOST", "localhost")
PREFIX = ENV.fetch("STOMP_PREFIX")
VERSION = ENV.fetch("STOMP_VERSION")
URL = ENV.fetch("STOMP_URL", "") # ssl: the certificate is not checked
WAIT = 10 # seconds for anything that must come

TEXT = "Grüße, 世界 🐇"

def params(more = {})
  headers = VERSION == "1.0" ? {} : { "accept-version" => VERSION, "host" => VHOST }
  {
    hosts: [{ login: LOGIN, passcode: PASSCODE, host: HOST, port: PORT, ssl: URL.start_with?("ssl:") && Stomp::SSLParams.new }],
    reliable: false, max_reconnect_attempts: 1, connread_timeout: WAIT, stompconn: VERSION == "1.2",
    connect_headers: headers.merge(more)
  }
end

# Check is a connection whose frames are waited for one by one.
class Check
  attr_reader :c

  def initialize(more = {})
    @c = Stomp::Connection.new(params(more))
    raise "no CONNECTED: #{@c.connection_frame}" unless @c.connection_frame.command == "CONNECTED"
    @serial = 0
    @early = []
  end

  # frame is the next one of this command; messages that come while a receipt is waited
  # for are kept.
  def frame(command)
    kept = @early.index { |f| f.command == command }
    return @early.delete_at(kept) if kept
    Timeout.timeout(WAIT) do
      loop do
        f = @c.receive or raise "the server closed the connection"
        return f if f.command == command
        raise "ERROR #{f.headers} #{f.body}" if f.command == "ERROR"
        @early << f
      end
    end
  end

  def receipt
    "r#{@serial += 1}"
  end

  def confirmed(receipt)
    got = frame("RECEIPT").headers["receipt-id"]
    raise "receipt #{got}, want #{receipt}" unless got == receipt
  end

  def send(destination, body, headers = {})
    id = receipt
    @c.publish(destination, body, headers.merge(receipt: id))
    confirmed(id)
  end

  def subscribe(destination, ack: "auto", id: "s1")
    r = receipt
    @c.subscribe(destination, { ack: ack, receipt: r }, id)
    confirmed(r)
  end

  def message
    frame("MESSAGE")
  end

  def expect(*bodies)
    frames = bodies.map { message }
    got = frames.map { |f| f.body.dup.force_encoding("UTF-8") }
    raise "got #{got}, want #{bodies}" unless got == bodies
    frames
  end

  def ack(m, headers = {})
    r = receipt
    @c.ack(name(m), about(m).merge(headers).merge(receipt: r))
    confirmed(r)
  end

  def nack(m)
    if VERSION == "1.0" # the gem has none there
      @c.instance_eval { transmit("NACK", { "message-id": m.headers["message-id"] }) }
    else
      @c.nack(name(m), about(m))
    end
  end

  def name(m)
    m.headers[VERSION == "1.2" ? "ack" : "message-id"]
  end

  def about(m)
    VERSION == "1.1" ? { subscription: m.headers["subscription"] } : {}
  end

  def leave
    r = receipt
    @c.disconnect(receipt: r)
    got = @c.disconnect_receipt
    raise "no receipt of DISCONNECT but #{got}" unless got && got.headers["receipt-id"] == r
  end

  # The socket ends without DISCONNECT, as when the process is killed.
  def vanish
    socket = @c.instance_variable_get(:@socket)
    socket.setsockopt(Socket::SOL_SOCKET, Socket::SO_LINGER, [1, 0].pack("ii"))
    socket.close
  end
end

def fill(destination, *bodies)
  c = Check.new
  bodies.each { |b| c.send(destination, b) }
  c.leave
end

def must(what, why = what.inspect)
  raise "not so: #{why}" unless what
end

def redelivered(m)
  must(m.headers["redelivered"] == "true", m.headers)
end

CHECKS = {
  "connect" => lambda {
    c = Check.new
    must(c.c.protocol == VERSION, c.c.protocol)
    must(c.c.connection_frame.headers["session"])
    c.leave
  },

  "heart-beat" => lambda {
    c = Check.new("heart-beat" => "300,300")
    must(c.c.hbsend_interval > 0 && c.c.hbrecv_interval > 0, "heart-beats agreed on")
    sleep 6 # longer than either side waits for a beat
    must(c.c.open?, "the connection lasts")
    must(c.c.hbsend_count >= 2 && c.c.hbrecv_count >= 2, "#{c.c.hbsend_count} sent, #{c.c.hbrecv_count} received")
    c.subscribe(PREFIX + "beat")
    c.send(PREFIX + "beat", "alive")
    c.expect("alive")
    c.leave
  },

  "text" => lambda {
    c = Check.new
    c.subscribe(PREFIX + "text")
    [TEXT, "", "a", "ends in newline\n", TEXT * 5000].each do |body|
      c.send(PREFIX + "text", body, "content-type": "text/plain")
      m = c.message
      must(m.body.b == body.b, "#{m.body.bytesize} bytes, want #{body.bytesize}")
      must(m.headers["content-type"] == "text/plain", m.headers)
      must(m.headers["destination"] == PREFIX + "text", m.headers)
      must(m.headers["message-id"])
    end
    # Without content-length the NUL ends the body.
    c.send(PREFIX + "text", TEXT, suppress_content_length: true)
    c.expect(TEXT)
    c.leave
  },

  "headers" => lambda {
    c = Check.new
    c.subscribe(PREFIX + "headers")
    want = { "plain" => "value", "utf-8" => TEXT, "name-ü" => "1" }
    unless VERSION == "1.0" # a backslash before n, c or r is not tried: the gem decodes it wrongly
      want.merge!("colon" => "a:b::c", "lines" => "one\ntwo\n", "backslash" => "C:\\dir\\", "spaces" => " both sides ")
    end
    want["return"] = "a\r\nb\r" if VERSION == "1.2"
    c.send(PREFIX + "headers", "x", want)
    got = c.message.headers
    want.each do |name, value|
      have = got.find { |k, _| k.b == name.b }&.last
      must(have && have.b == value.b, "#{name} is #{have.inspect}, want #{value.inspect}")
    end
    c.leave
  },

  "binary" => lambda {
    c = Check.new
    c.subscribe(PREFIX + "binary")
    ["\0", "a\0b\0\0", (0..255).to_a.pack("C*") * 300, "\n\0\n"].each do |body|
      c.send(PREFIX + "binary", body.b)
      got = c.message.body
      must(got.b == body.b, "#{got.bytesize} bytes, want #{body.bytesize}")
    end
    c.leave
  },

  "receipts" => lambda {
    c = Check.new
    100.times { |i| c.c.publish(PREFIX + "receipts", i.to_s, receipt: "n#{i}") }
    100.times { |i| c.confirmed("n#{i}") }
    c.subscribe(PREFIX + "receipts")
    100.times { |i| c.expect(i.to_s) }
    c.c.unsubscribe(PREFIX + "receipts", { receipt: "unsub" }, "s1")
    c.confirmed("unsub")
    c.leave
  },

  "order" => lambda {
    c = Check.new
    c.subscribe(PREFIX + "order")
    1000.times { |i| c.c.publish(PREFIX + "order", i.to_s) }
    1000.times { |i| c.expect(i.to_s) }
    c.leave
  },

  "ack client" => lambda {
    q = PREFIX + "ack-client"
    fill(q, "1", "2", "3")
    c = Check.new
    c.subscribe(q, ack: "client")
    c.ack(c.expect("1", "2", "3")[1]) # and with it the first
    c.leave
    fill(q, "end")
    c = Check.new
    c.subscribe(q)
    redelivered(c.expect("3", "end").first)
    c.leave
  },

  "ack client-individual" => lambda {
    q = PREFIX + "ack-individual"
    fill(q, "1", "2", "3")
    c = Check.new
    c.subscribe(q, ack: "client-individual")
    c.ack(c.expect("1", "2", "3")[1])
    c.leave
    fill(q, "end")
    c = Check.new
    c.subscribe(q)
    c.expect("1", "3", "end")
    c.leave
  },

  "nack" => lambda {
    q = PREFIX + "nack"
    fill(q, "again")
    c = Check.new
    c.subscribe(q, ack: "client-individual")
    m = c.expect("again").first
    must(m.headers["redelivered"] != "true", m.headers)
    c.nack(m)
    m = c.expect("again").first
    redelivered(m)
    c.ack(m)
    c.leave
  },

  "commit" => lambda {
    q, other = PREFIX + "commit", PREFIX + "commit-in"
    fill(other, "in")
    c, reader = Check.new, Check.new
    reader.subscribe(q)
    c.subscribe(other, ack: "client-individual")
    m = c.expect("in").first
    c.c.begin("t1")
    c.c.publish(q, "one", transaction: "t1")
    c.c.publish(q, "two", transaction: "t1")
    c.ack(m, transaction: "t1")
    c.send(q, "outside")
    reader.expect("outside") # sent last, seen first: the others wait for their commit
    c.c.commit("t1", receipt: "commit")
    c.confirmed("commit")
    reader.expect("one", "two")
    c.leave
    fill(other, "end")
    reader.subscribe(other, id: "s2")
    reader.expect("end") # "in" was acknowledged by the commit
    reader.leave
  },

  "abort" => lambda {
    q, other = PREFIX + "abort", PREFIX + "abort-in"
    fill(other, "in")
    c, reader = Check.new, Check.new
    reader.subscribe(q)
    c.subscribe(other, ack: "client-individual")
    m = c.expect("in").first
    c.c.begin("t1")
    c.c.publish(q, "never", transaction: "t1")
    c.ack(m, transaction: "t1")
    c.c.abort("t1", receipt: "abort")
    c.confirmed("abort")
    c.send(q, "end")
    reader.expect("end")
    c.leave
    reader.subscribe(other, id: "s2")
    redelivered(reader.expect("in").first) # its ack was never given
    reader.leave
  },

  "clean leave" => lambda {
    q = PREFIX + "clean-leave"
    fill(q, "1", "2")
    c, other = Check.new, Check.new
    c.subscribe(q, ack: "client")
    c.expect("1", "2")
    other.subscribe(q, ack: "client-individual")
    c.leave # waits for the receipt of DISCONNECT
    other.expect("1", "2").each { |m| redelivered(m); other.ack(m) }
    other.leave
  },

  "unclean leave" => lambda {
    q = PREFIX + "unclean-leave"
    fill(q, "1", "2")
    c, other = Check.new, Check.new
    c.subscribe(q, ack: "client-individual")
    c.expect("1", "2")
    c.c.begin("t1")
    c.c.publish(q, "never", transaction: "t1")
    other.subscribe(q, ack: "client-individual")
    c.vanish
    other.expect("1", "2").each { |m| redelivered(m); other.ack(m) }
    other.send(q, "end")
    other.ack(other.expect("end").first)
    other.leave
  },

  # By Stomp::Client, which reads in a thread of its own.
  "topic" => lambda {
    t = PREFIX.sub("/queue/", "/topic/") + "topic"
    want = (0...20).map { |i| "#{i} #{TEXT}" }
    readers = Array.new(3) do
      client, got, ready = Stomp::Client.new(params), Queue.new, Queue.new
      r = client.uuid
      client.instance_variable_get(:@receipt_listeners)[r] = ->(_) { ready << true }
      client.subscribe(t, id: "s1", receipt: r) { |m| got << m.body.dup.force_encoding("UTF-8") }
      Timeout.timeout(WAIT) { ready.pop }
      [client, got]
    end
    want.each { |body| readers[0][0].publish(t, body) }
    readers.each do |client, got|
      have = Timeout.timeout(WAIT) { want.map { got.pop } }
      must(have == want, "got #{have}")
      client.close
    end
  },

  "error" => lambda {
    c = Check.new
    c.c.publish(PREFIX + "error", "x", transaction: "no-such", receipt: "e1")
    f = Timeout.timeout(WAIT) { c.c.receive }
    must(f&.command == "ERROR", f)
    must(!f.headers["message"].to_s.empty?, f)
    must(f.headers["receipt-id"] == "e1", f)
    must([nil, "transaction-unknown"].include?(f.headers["error-code"]), f)
    must((f.headers["message"] + f.body).include?("no-such"), f)
    $stderr = File.open(File::NULL, "w") # the gem warns of the end that is wanted here
    ended = Timeout.timeout(WAIT) { c.c.receive }
    $stderr = STDERR
    must(ended.nil?, "an ERROR is the last frame, but #{ended}")
    Check.new.leave
  }
}

PEERS = {
  # As the clients of ActiveMQ do it: selector, schedule, group, durable subscription, browser.
  "ActiveMQ" => lambda {
    c = Check.new
    q = PREFIX + "amq"
    c.c.subscribe(q, { id: "s1", ack: "client-individual", selector: "color = 'red'", "activemq.prefetchSize" => 5 })
    c.c.publish(q, "blue", color: "blue")
    c.c.publish(q, "later", color: "red", AMQ_SCHEDULED_DELAY: 200)
    c.c.publish(q, "red", color: "red", JMSXGroupID: "g", persistent: true)
    %w[red later].each do |want|
      f = c.frame("MESSAGE")
      must(f.body == want, f)
      c.ack(f)
    end
    c.c.subscribe(q, { id: "b", browser: true })
    must(c.frame("MESSAGE").body == "blue", "the browser sees what is left")
    must(c.frame("MESSAGE").headers["browser"] == "end", "and its end")
    c.leave
    d = Check.new("client-id" => "rubyist")
    d.c.subscribe("/topic/clients.rb", { id: "d", "activemq.subscriptionName" => "news" })
    d.leave
    c = Check.new
    c.c.publish("topic://clients.rb", "while away")
    c.leave
    d = Check.new("client-id" => "rubyist")
    d.c.subscribe("/topic/clients.rb", { id: "d", "activemq.subscriptionName" => "news" })
    must(d.frame("MESSAGE").body == "while away", "the durable subscription kept it")
    d.leave
  },

  # As those of RabbitMQ do it: an exchange, replies to a temporary queue, a limit.
  "RabbitMQ" => lambda {
    c = Check.new
    c.c.subscribe("/exchange/amq.direct/key", { id: "x" })
    c.c.subscribe(PREFIX + "rb.rpc", { id: "rpc" })
    c.c.publish("/exchange/amq.direct/key", "direct")
    must(c.frame("MESSAGE").body == "direct", "by its key")
    c.c.publish(PREFIX + "rb.rpc", "question", "reply-to" => "/temp-queue/a")
    asked = c.frame("MESSAGE")
    c.c.publish(asked.headers["reply-to"], "answer")
    answer = c.frame("MESSAGE")
    must(answer.body == "answer" && answer.headers["subscription"] == "/temp-queue/a", answer)
    %w[1 2 3].each { |body| c.c.publish(PREFIX + "rb.short", body, "x-max-length" => 2) }
    c.c.subscribe(PREFIX + "rb.short", { id: "short" })
    %w[2 3].each { |want| must(c.frame("MESSAGE").body == want, "the oldest made room") }
    c.leave
  },

  # As those of Artemis do it: a bare name with a type, de-duplication.
  "Artemis" => lambda {
    c = Check.new
    c.c.subscribe("clients.rb.artemis", { id: "q", "subscription-type" => "ANYCAST" })
    2.times { c.c.publish("clients.rb.artemis", "once", "destination-type" => "ANYCAST", _AMQ_DUPL_ID: "1") }
    c.c.publish("jms.queue.clients.rb.artemis", "end")
    %w[once end].each { |want| must(c.frame("MESSAGE").body == want, want) }
    c.leave
  },

  # As those of Apollo do it: a list of destinations, a message that its topic keeps.
  "Apollo" => lambda {
    c = Check.new
    both = PREFIX + "rb.a," + PREFIX + "rb.b"
    c.c.subscribe(both, { id: "both", exclusive: true })
    c.c.publish(both, "twice", message_group: "g")
    2.times { must(c.frame("MESSAGE").body == "twice", "one for each") }
    c.c.publish("/topic/rb.kept", "kept", retain: "set")
    c.c.subscribe("/topic/rb.*", { id: "late" })
    must(c.frame("MESSAGE").headers["retained"] == "true", "the topic kept it")
    c.leave
  },

  # Wildcards of each broker, and a durable subscription that is left, taken up and destroyed.
  "topics" => lambda {
    other, c = Check.new, Check.new
    ["/topic/rbt.*.end", "topic://rbt.>", "/exchange/amq.topic/rbt.#"].each_with_index { |t, i| c.c.subscribe(t, { id: "w#{i}" }) }
    c.c.publish("/topic/rbt.a.end", "all")
    must(Array.new(3) { c.frame("MESSAGE").headers["subscription"] }.sort == %w[w0 w1 w2], "each of them")
    c.leave
    c = Check.new
    c.c.subscribe("/topic/rb.news", { id: "rb", durable: true })
    c.leave
    other.c.publish("/topic/rb.news", "kept")
    other.leave
    c = Check.new
    c.c.subscribe("/topic/rb.news", { id: "x", "durable-subscription-name" => "rb" })
    must(c.frame("MESSAGE").body == "kept", "it waited")
    c.c.unsubscribe("/topic/rb.news", { id: "x", "durable-subscription-name" => "rb" })
    c.c.publish("/topic/rb.news", "nobody's")
    c.c.subscribe("/topic/rb.news", { id: "x", "activemq.subscriptionName" => "rb" })
    c.c.publish("/topic/rb.news", "new")
    must(c.frame("MESSAGE").body == "new", "it began anew")
    c.leave
  },

  # A temporary queue of ActiveMQ's clients, and what nobody would get.
  "replies" => lambda {
    c = Check.new
    c.c.subscribe("/temp-queue/mine", { id: "mine" })
    c.c.subscribe(PREFIX + "rb.ask", { id: "ask" })
    c.c.publish(PREFIX + "rb.ask", "question", "reply-to" => "/temp-queue/mine")
    c.c.publish(c.frame("MESSAGE").headers["reply-to"], "answer")
    answer = c.frame("MESSAGE")
    must(answer.body == "answer" && answer.headers["subscription"] == "mine", answer)
    c.c.publish("/topic/rb.nobody", "x", mandatory: true, receipt: "m")
    f = c.c.receive
    must(f.command == "ERROR" && f.headers["error-code"] == "unroutable" && f.headers["receipt-id"] == "m", f)
  },

  # A topic that keeps, read again from a place on, as RabbitMQ's streams are.
  "replay" => lambda {
    c = Check.new
    c.c.subscribe("/topic/rb.kept2", { id: "k", "x-queue-type" => "stream" })
    5.times { |i| c.c.publish("/topic/rb.kept2", i.to_s) }
    at = Array.new(5) { c.frame("MESSAGE").headers["x-stream-offset"] }
    { "from-seq" => at[2], "x-stream-offset" => "offset=#{at[2]}" }.each do |name, value|
      r = Check.new
      r.c.subscribe("/topic/rb.kept2", { id: "r", name => value })
      must(Array.new(3) { r.frame("MESSAGE").body } == %w[2 3 4], "from there on")
      r.leave
    end
    c.leave
  },

  # Events and figures, by this server's names and ActiveMQ's.
  "figures" => lambda {
    c = Check.new
    c.c.subscribe("/topic/$sys/connect", { id: "own" })
    c.c.subscribe("/topic/ActiveMQ.Advisory.Connection", { id: "amq" })
    c.c.publish(PREFIX + "rb.counted", "1", receipt: "sent")
    c.frame("RECEIPT")
    other = Check.new
    told = {} # ActiveMQ's name tells of one that left, too: of a check before
    told[c.frame("MESSAGE").headers["subscription"]] = true while told.size < 2
    c.c.publish("ActiveMQ.Statistics.Destination." + PREFIX.delete_prefix("/queue/") + "rb.counted", "", "reply-to" => "/temp-queue/f")
    f = c.frame("MESSAGE")
    f = c.frame("MESSAGE") while %w[own amq].include?(f.headers["subscription"])
    must(f.headers["size"] == "1" && f.headers["consumerCount"] == "0", f)
    c.leave
    other.leave
  }
}

CHECKS.delete("heart-beat") if VERSION == "1.0" # 1.0 knows none
CHECKS.replace(PEERS) if ENV["STOMP_CHECKS"] == "peers"

$stdout.sync = true
puts "# stomp gem #{Stomp::Version::STRING}, Ruby #{RUBY_VERSION}, STOMP #{VERSION}"
CHECKS.each_with_index do |(name, run), i|
  run.call
  puts "ok #{i + 1} - #{name}"
rescue Exception => e
  puts "not ok #{i + 1} - #{name}", "# #{e.class}: #{e.message.gsub("\n", "\n# ")}"
  puts e.backtrace.first(5).map { |l| "#   #{l}" }
end
puts "1..#{CHECKS.size}"
exit! 0 # threads of connections that a failed check left behind
