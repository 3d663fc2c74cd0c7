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
            'tcp://' . getenv('STOMP_HOST') . ':' . getenv('STOMP_PORT'),
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

if (VERSION === '1.0') {
    unset($checks['heart-beat']); // 1.0 knows none
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
