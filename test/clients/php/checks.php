<?php
// The checks of test/clients with the stomp extension. See ../doc.go for what each one means.

declare(strict_types=1);

define('VERSION', getenv('STOMP_VERSION'));
define('PREFIX', getenv('STOMP_PREFIX'));
const WAIT = 10; // seconds for anything that must come
const TEXT = 'Grüße, 世界 🐇';

// The extension waits by itself for the receipt of what is sent with one.
final class Check
{
    public Stomp $c;
    private int $serial = 0;

    public function __construct(array $more = [])
    {
        $headers = VERSION === '1.0' ? [] : ['accept-version' => VERSION, 'host' => getenv('STOMP_VHOST') ?: 'localhost'];
        $this->c = new Stomp(
            'tcp://' . getenv('STOMP_HOST') . ':' . getenv('STOMP_PORT'), // Debian's has no TLS
            getenv('STOMP_LOGIN') ?: 'guest',
            getenv('STOMP_PASSCODE') ?: 'guest',
            $headers + $more,
        );
        $this->c->setReadTimeout(WAIT);
    }

    public function receipt(): array
    {
        return ['receipt' => 'r' . ++$this->serial];
    }

    public function send(string $destination, string $body, array $headers = []): void
    {
        must($this->c->send($destination, $body, $headers + $this->receipt()), "receipt of a SEND: {$this->c->error()}");
    }

    public function subscribe(string $destination, string $ack = 'auto', string $id = 's1'): void
    {
        $headers = ['ack' => $ack, 'id' => $id] + $this->receipt();
        must($this->c->subscribe($destination, $headers), "receipt of SUBSCRIBE: {$this->c->error()}");
    }

    public function message(): StompFrame
    {
        $frame = $this->c->readFrame();
        must($frame !== false, 'a message in time');
        must($frame->command === 'MESSAGE', "MESSAGE, not {$frame->command}");
        return $frame;
    }

    public function expect(string ...$bodies): array
    {
        $frames = [];
        foreach ($bodies as $want) {
            $m = $this->message();
            must($m->body === $want, "got $m->body, want $want");
            $frames[] = $m;
        }
        return $frames;
    }

    // After a leave that nobody waited for, what was held may come back behind later messages.
    public function expectAnyOrder(string ...$bodies): void
    {
        $seen = array_map(fn () => $this->message()->body, $bodies);
        sort($seen);
        must($seen === $bodies, 'got ' . implode(' ', $seen));
    }

    public function settle(string $method, StompFrame $m, array $headers = []): void
    {
        $headers += match (VERSION) {
            '1.0' => [],
            '1.1' => ['subscription' => $m->headers['subscription']],
            '1.2' => ['id' => $m->headers['ack']],
        };
        must($this->c->$method($m, $headers + $this->receipt()), "receipt of $method: {$this->c->error()}");
    }

    // The extension sends DISCONNECT and closes; it waits for no receipt.
    public function leave(): void
    {
        unset($this->c);
    }
}

function fill(string $destination, string ...$bodies): void
{
    $c = new Check();
    foreach ($bodies as $b) {
        $c->send($destination, $b);
    }
    $c->leave();
}

function must(bool $what, string $why): void
{
    if (!$what) {
        throw new Exception("not so: $why");
    }
}

function redelivered(StompFrame $m): void
{
    must(($m->headers['redelivered'] ?? '') === 'true', 'redelivered:true in ' . json_encode($m->headers));
}

// A process of its own that takes messages and has a transaction open, to be killed.
if (($argv[1] ?? '') === 'hold') {
    $c = new Check();
    $c->subscribe($argv[2], 'client-individual');
    $c->expect('1', '2');
    $c->c->begin('t1');
    $c->send($argv[2], 'never', ['transaction' => 't1']);
    echo "held\n";
    sleep(60);
    exit(1);
}

$checks = [
    'connect' => function () {
        $c = new Check();
        must($c->c->getSessionId() !== '', 'session');
        $c->leave();
    },

    // The extension neither sends beats nor reads over them: it must not be cut off for it.
    'heart-beat' => function () {
        $c = new Check(['heart-beat' => '0,0']);
        $c->subscribe(PREFIX . 'beat');
        sleep(3);
        $c->send(PREFIX . 'beat', 'alive');
        $c->expect('alive');
        $c->leave();
    },

    'text' => function () {
        $c = new Check();
        $c->subscribe(PREFIX . 'text');
        foreach ([TEXT, '', 'a', "ends in newline\n", str_repeat(TEXT, 5000)] as $body) {
            $c->send(PREFIX . 'text', $body, ['content-type' => 'text/plain']);
            $m = $c->message();
            must((string) $m->body === $body, strlen((string) $m->body) . ' bytes, want ' . strlen($body));
            must($m->headers['content-type'] === 'text/plain', 'content-type');
            must($m->headers['destination'] === PREFIX . 'text', 'destination');
            must($m->headers['message-id'] !== '', 'message-id');
        }
        $c->leave();
    },

    // The extension escapes nothing, so only what needs no escape is tried.
    'headers' => function () {
        $c = new Check();
        $c->subscribe(PREFIX . 'headers');
        $want = ['plain' => 'value', 'utf-8' => TEXT, 'name-ü' => '1'];
        $c->send(PREFIX . 'headers', 'x', $want);
        $got = $c->message()->headers;
        foreach ($want as $name => $value) {
            must(($got[$name] ?? null) === $value, "$name is " . ($got[$name] ?? 'not there'));
        }
        $c->leave();
    },

    'binary' => function () {
        $c = new Check();
        $c->subscribe(PREFIX . 'binary');
        foreach (["\0", "a\0b\0\0", str_repeat(implode('', array_map('chr', range(0, 255))), 300), "\n\0\n"] as $body) {
            $c->send(PREFIX . 'binary', $body, ['content-length' => (string) strlen($body)]);
            $got = $c->message()->body;
            must($got === $body, strlen((string) $got) . ' bytes, want ' . strlen($body));
        }
        $c->leave();
    },

    'receipts' => function () {
        $c = new Check();
        for ($i = 0; $i < 100; $i++) {
            $c->send(PREFIX . 'receipts', (string) $i);
        }
        $c->subscribe(PREFIX . 'receipts');
        for ($i = 0; $i < 100; $i++) {
            $c->expect((string) $i);
        }
        must($c->c->unsubscribe(PREFIX . 'receipts', ['id' => 's1'] + $c->receipt()), 'receipt of UNSUBSCRIBE');
        $c->leave();
    },

    'order' => function () {
        $c = new Check();
        $c->subscribe(PREFIX . 'order');
        for ($i = 0; $i < 1000; $i++) {
            $c->c->send(PREFIX . 'order', (string) $i);
        }
        for ($i = 0; $i < 1000; $i++) {
            $c->expect((string) $i);
        }
        $c->leave();
    },

    'ack client' => function () {
        $q = PREFIX . 'ack-client';
        fill($q, '1', '2', '3');
        $c = new Check();
        $c->subscribe($q, 'client');
        $c->settle('ack', $c->expect('1', '2', '3')[1]); // and with it the first
        $c->leave();
        fill($q, 'end');
        $c = new Check();
        $c->subscribe($q);
        $c->expectAnyOrder('3', 'end');
        $c->leave();
    },

    'ack client-individual' => function () {
        $q = PREFIX . 'ack-individual';
        fill($q, '1', '2', '3');
        $c = new Check();
        $c->subscribe($q, 'client-individual');
        $c->settle('ack', $c->expect('1', '2', '3')[1]);
        $c->leave();
        fill($q, 'end');
        $c = new Check();
        $c->subscribe($q);
        $c->expectAnyOrder('1', '3', 'end');
        $c->leave();
    },

    'nack' => function () {
        $q = PREFIX . 'nack';
        fill($q, 'again');
        $c = new Check();
        $c->subscribe($q, 'client-individual');
        [$m] = $c->expect('again');
        must(($m->headers['redelivered'] ?? 'false') === 'false', 'redelivered:false');
        $c->settle('nack', $m);
        [$m] = $c->expect('again');
        redelivered($m);
        $c->settle('ack', $m);
        $c->leave();
    },

    'commit' => function () {
        [$q, $other] = [PREFIX . 'commit', PREFIX . 'commit-in'];
        fill($other, 'in');
        [$c, $reader] = [new Check(), new Check()];
        $reader->subscribe($q);
        $c->subscribe($other, 'client-individual');
        [$m] = $c->expect('in');
        must($c->c->begin('t1', $c->receipt()), 'receipt of BEGIN');
        $c->send($q, 'one', ['transaction' => 't1']);
        $c->send($q, 'two', ['transaction' => 't1']);
        $c->settle('ack', $m, ['transaction' => 't1']);
        $c->send($q, 'outside');
        $reader->expect('outside'); // sent last, seen first: the others wait for their commit
        must($c->c->commit('t1', $c->receipt()), 'receipt of COMMIT');
        $reader->expect('one', 'two');
        $c->leave();
        fill($other, 'end');
        $reader->subscribe($other, 'auto', 's2');
        $reader->expect('end'); // "in" was acknowledged by the commit
        $reader->leave();
    },

    'abort' => function () {
        [$q, $other] = [PREFIX . 'abort', PREFIX . 'abort-in'];
        fill($other, 'in');
        [$c, $reader] = [new Check(), new Check()];
        $reader->subscribe($q);
        $c->subscribe($other, 'client-individual');
        [$m] = $c->expect('in');
        must($c->c->begin('t1', $c->receipt()), 'receipt of BEGIN');
        $c->send($q, 'never', ['transaction' => 't1']);
        $c->settle('ack', $m, ['transaction' => 't1']);
        must($c->c->abort('t1', $c->receipt()), 'receipt of ABORT');
        $c->send($q, 'end');
        $reader->expect('end');
        $c->leave();
        $reader->subscribe($other, 'auto', 's2');
        redelivered($reader->expect('in')[0]); // its ack was never given
        $reader->leave();
    },

    'clean leave' => function () {
        $q = PREFIX . 'clean-leave';
        fill($q, '1', '2');
        [$c, $other] = [new Check(), new Check()];
        $c->subscribe($q, 'client');
        $c->expect('1', '2');
        $other->subscribe($q, 'client-individual');
        $c->leave();
        foreach ($other->expect('1', '2') as $m) {
            redelivered($m);
            $other->settle('ack', $m);
        }
        $other->leave();
    },

    'unclean leave' => function () {
        $q = PREFIX . 'unclean-leave';
        fill($q, '1', '2');
        $holder = proc_open([PHP_BINARY, __FILE__, 'hold', $q], [1 => ['pipe', 'w']], $pipes);
        $said = fgets($pipes[1]);
        must($said === "held\n", 'the holder holds, not ' . var_export($said, true));
        $other = new Check();
        $other->subscribe($q, 'client-individual');
        proc_terminate($holder, 9);
        foreach ($other->expect('1', '2') as $m) {
            redelivered($m);
            $other->settle('ack', $m);
        }
        $other->send($q, 'end');
        $other->settle('ack', $other->expect('end')[0]);
        $other->leave();
        proc_close($holder);
    },

    'topic' => function () {
        $t = preg_replace('{^/queue/}', '/topic/', PREFIX) . 'topic';
        $readers = [new Check(), new Check(), new Check()];
        foreach ($readers as $r) {
            $r->subscribe($t);
        }
        for ($i = 0; $i < 20; $i++) {
            $readers[0]->c->send($t, "$i " . TEXT);
        }
        foreach ($readers as $r) {
            for ($i = 0; $i < 20; $i++) {
                $r->expect("$i " . TEXT);
            }
            $r->leave();
        }
    },

    'error' => function () {
        $c = new Check();
        $c->c->send(PREFIX . 'error', 'x', ['transaction' => 'no-such']);
        try {
            $c->c->readFrame();
            throw new Exception('no StompException');
        } catch (StompException $e) {
            must($e->getMessage() !== '', 'message');
            must(str_contains($e->getMessage() . $e->getDetails(), 'no-such'),
                "a text that names the transaction, not {$e->getMessage()}: {$e->getDetails()}");
        }
        try {
            must(!$c->c->readFrame(), 'the end');
        } catch (StompException) { // so it says that the connection is gone
        }
        (new Check())->leave();
    },
];

// subscribed waits for the RECEIPT of a SUBSCRIBE with these headers.
function subscribed(Check $c, string $destination, string $id, array $headers = []): void
{
    must($c->c->subscribe($destination, $headers + ['id' => $id] + $c->receipt()), "receipt of SUBSCRIBE: {$c->c->error()}");
}

function unsubscribed(Check $c, string $destination, string $id, array $headers = []): void
{
    must($c->c->unsubscribe($destination, $headers + ['id' => $id] + $c->receipt()), "receipt of UNSUBSCRIBE: {$c->c->error()}");
}

// refused does what has to end in an ERROR with that error-code.
function refused(string $why, Check $c, callable $act): void
{
    try {
        $act();
        while ($c->c->readFrame()) {
        }
        throw new Exception("no StompException: $why");
    } catch (StompException $e) {
        must(str_contains($e->getMessage() . $e->getDetails(), $why), "$why, not {$e->getMessage()}: {$e->getDetails()}");
    }
}

// As programs use what other brokers have, with the headers of each.
$peers = [
    'ActiveMQ' => function () {
        $q = PREFIX . 'php.amq';
        $c = new Check();
        $c->send($q, 'blue', ['color' => 'blue']);
        $c->send($q, 'red', ['color' => 'red', 'JMSXGroupID' => 'g', 'persistent' => 'true', 'amq-msg-type' => 'text']);
        subscribed($c, $q, 's', ['ack' => 'client', 'selector' => "color = 'red'", 'activemq.prefetchSize' => '1']);
        $c->settle('ack', $c->expect('red')[0]);
        subscribed($c, $q, 'b', ['browser' => 'true']);
        $c->expect('blue');
        must($c->message()->headers['browser'] === 'end', 'the end of the browser');
        $c->leave();
        $news = ['activemq.subscriptionName' => 'news'];
        $d = new Check(['client-id' => 'php']);
        subscribed($d, '/topic/php.news', 'd', $news);
        unsubscribed($d, '/topic/php.news', 'd');
        $d->leave();
        fill('topic://php.news', 'while away');
        $d = new Check(['client-id' => 'php2']);
        subscribed($d, '/topic/php.news', 'd', $news);
        $d->leave();
        fill('/topic/php.news', 'again');
        foreach (['php' => ['while away', 'again'], 'php2' => ['again']] as $client => $want) {
            $d = new Check(['client-id' => $client]);
            subscribed($d, '/topic/php.news', 'd', $news);
            $d->expect(...$want);
            $d->leave();
        }
    },

    'RabbitMQ' => function () {
        $c = new Check();
        subscribed($c, '/exchange/amq.direct/php', 'x');
        $c->send('/exchange/amq.direct/php', 'direct');
        $c->expect('direct');
        subscribed($c, PREFIX . 'php.rpc', 'rpc', ['auto-delete' => 'true']);
        $c->send(PREFIX . 'php.rpc', 'question', ['reply-to' => '/temp-queue/a', 'correlation-id' => '7']);
        $c->send($c->expect('question')[0]->headers['reply-to'], 'answer');
        must($c->expect('answer')[0]->headers['subscription'] === '/temp-queue/a', 'its id');
        foreach (['1', '2', '3'] as $body) {
            $c->send(PREFIX . 'php.short', $body, ['x-max-length' => '2']);
        }
        subscribed($c, PREFIX . 'php.short', 'short');
        $c->expect('2', '3');
        $c->leave();
    },

    'Artemis' => function () {
        $c = new Check();
        foreach ([1, 2] as $_) {
            $c->send('php.artemis', 'once', ['destination-type' => 'ANYCAST', '_AMQ_DUPL_ID' => '1']);
        }
        $c->send('jms.queue.php.artemis', 'end');
        subscribed($c, 'php.artemis', 'q', ['subscription-type' => 'ANYCAST']);
        $c->expect('once', 'end');
        $c->leave();
    },

    'Apollo' => function () {
        $c = new Check();
        $both = PREFIX . 'php.a,' . PREFIX . 'php.b';
        $c->send($both, 'twice', ['message_group' => 'g']);
        subscribed($c, $both, 'both', ['exclusive' => 'true']);
        $c->expect('twice', 'twice');
        $c->send('/topic/php.kept', 'kept', ['retain' => 'set']);
        subscribed($c, '/topic/php.*', 'late');
        must($c->expect('kept')[0]->headers['retained'] === 'true', 'the topic kept it');
        $c->leave();
    },

    'topics' => function () {
        $c = new Check();
        foreach (['/topic/phpt.*.end', 'topic://phpt.>', '/exchange/amq.topic/phpt.#'] as $i => $pattern) {
            subscribed($c, $pattern, "w$i");
        }
        fill('/topic/phpt.a.end', 'all');
        $got = array_map(fn ($m) => $m->headers['subscription'], $c->expect('all', 'all', 'all'));
        sort($got);
        must($got === ['w0', 'w1', 'w2'], implode(',', $got));
        $durable = ['durable' => 'true'];
        subscribed($c, '/topic/phpnews', 'php', $durable);
        unsubscribed($c, '/topic/phpnews', 'php');
        fill('/topic/phpnews', 'kept');
        subscribed($c, '/topic/phpnews', 'php', $durable);
        $c->expect('kept');
        unsubscribed($c, '/topic/phpnews', 'php', $durable);
        fill('/topic/phpnews', "nobody's");
        subscribed($c, '/topic/phpnews', 'php', $durable);
        fill('/topic/phpnews', 'new');
        $c->expect('new');
        $c->leave();
    },

    'replies' => function () {
        $c = new Check();
        $server = new Check();
        subscribed($c, '/temp-queue/mine', 'mine');
        subscribed($server, PREFIX . 'php.ask', 'ask');
        $c->send(PREFIX . 'php.ask', 'question', ['reply-to' => '/temp-queue/mine']);
        $to = $server->expect('question')[0]->headers['reply-to'];
        $server->send($to, 'answer');
        $c->expect('answer');
        $thief = new Check();
        refused('access_refused', $thief, fn () => $thief->c->subscribe($to, ['id' => 't']));
        refused('not_found', $c, fn () => $c->c->send('/topic/php.nobody', 'x', ['mandatory' => 'true']));
    },

    'replay' => function () {
        $c = new Check();
        subscribed($c, '/topic/php.stream', 'k', ['x-queue-type' => 'stream']);
        fill('/topic/php.stream', '0', '1', '2', '3', '4');
        $at = $c->expect('0', '1', '2', '3', '4')[2]->headers['x-stream-offset'];
        foreach ([['from-seq' => $at], ['x-stream-offset' => "offset=$at"]] as $headers) {
            $r = new Check();
            subscribed($r, '/topic/php.stream', 'r', $headers);
            $r->expect('2', '3', '4');
            $r->leave();
        }
        $c->leave();
    },

    'figures' => function () {
        $c = new Check();
        subscribed($c, '/topic/$sys/connect', 'own');
        subscribed($c, '/topic/ActiveMQ.Advisory.Connection', 'amq');
        $other = new Check();
        for ($told = []; count($told) < 2;) { // ActiveMQ's name tells of one that left, too: of a check before
            $told[$c->message()->headers['subscription']] = true;
        }
        $other->send(PREFIX . 'php.counted', '1');
        subscribed($c, '/temp-queue/f', 'f');
        $c->send('ActiveMQ.Statistics.Destination.' . substr(PREFIX, strlen('/queue/')) . 'php.counted', '', ['reply-to' => '/temp-queue/f']);
        do {
            $h = $c->message()->headers;
        } while ($h['subscription'] !== 'f');
        must($h['size'] === '1' && $h['consumerCount'] === '0', json_encode($h));
        $c->leave();
    },
];

if (VERSION === '1.0') {
    unset($checks['heart-beat']); // 1.0 knows none
}
if (getenv('STOMP_CHECKS') === 'peers') {
    $checks = $peers;
}

set_error_handler(function (int $level, string $text, string $file, int $line) {
    if ($level === E_DEPRECATED) {
        return true; // the extension does something that PHP deprecates: a frame without body
    }
    throw new ErrorException($text, 0, $level, $file, $line);
});
echo '# stomp extension ', stomp_version(), ', PHP ', PHP_VERSION, ', STOMP ', VERSION, "\n";
$n = 0;
foreach ($checks as $name => $run) {
    $n++;
    try {
        $run();
        echo "ok $n - $name\n";
    } catch (Throwable $e) {
        echo "not ok $n - $name\n# ", str_replace("\n", "\n# ", (string) $e), "\n";
    }
}
echo "1..$n\n";
