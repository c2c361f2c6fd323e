import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { S3Error } from '../errors.ts'
import { childText, parseXml } from './reader.ts'
import { element, escapeText, s3Document, urlEncode } from './writer.ts'

const read = (text: string) => parseXml(Buffer.from(text))
const refused = (text: string | Buffer): void => {
  assert.throws(() => parseXml(Buffer.from(text)), (error: unknown) => error instanceof S3Error && error.code === 'MalformedXML', String(text).slice(0, 80))
}

test('reads what S3 clients send', () => {
  const root = read('<?xml version="1.0" encoding="UTF-8"?>\n<!-- c --><Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Quiet> true </Quiet>' +
    '<Object a="1" b=\'2\'><Key>a &amp; b&#x20;&#252;&#x1F600;</Key></Object><Object><Key><![CDATA[<raw>&amp;]]></Key></Object><Empty/></Delete>\n')
  assert.equal(root.name, 'Delete')
  assert.equal(childText(root, 'Quiet'), 'true')
  assert.equal(childText(root.children[1]!, 'Key', true), 'a & b ü😀')
  assert.equal(childText(root.children[2]!, 'Key', true), '<raw>&amp;')
  assert.equal(read('<s3:A xmlns:s3="x"><s3:B>1</s3:B></s3:A>').children[0]?.name, 'B')
  assert.equal(read('<A>\r\n</A>').text, '\n')
  assert.equal(read('<A>&#13;&#1;</A>').text, '\r\u0001')
})

test('refuses what could expand, reach outside, or is simply broken', () => {
  for (const text of [
    '', ' ', 'x', '<', '<A', '<A>', '<A></B>', '<A/><B/>', '<A/>x', '<A><B></A></B>', '<A a=1/>', '<A a="1" a="2"/>', '<A a="<"/>', '<1/>', '< A/>',
    '<!DOCTYPE A [<!ENTITY x "y">]><A>&x;</A>', '<!DOCTYPE A SYSTEM "file:///etc/passwd"><A/>', '<A>&x;</A>', '<A>&</A>', '<A>&amp</A>', '<A>&#0;</A>',
    '<A>&#xD800;</A>', '<A>&#x110000;</A>', '<A>&#;</A>', '<?php x ?><A/>', '<A><?x y?></A>', '<A><!-- -- --></A>', '<A><!-- </A>', '<A><![CDATA[x</A>',
    '<A>\u0001</A>', `${'<A>'.repeat(17)}${'</A>'.repeat(17)}`, '<A><!ENTITY x "y"></A>',
  ]) refused(text)
  refused(Buffer.from([0x3c, 0x41, 0x3e, 0xff, 0x3c, 0x2f, 0x41, 0x3e]))
  refused(`<A>${'x'.repeat(2 * 1024 * 1024)}</A>`)
  assert.throws(() => childText(read('<A><B>1</B><B>2</B></A>'), 'B'))
  assert.throws(() => childText(read('<A><B><C/></B></A>'), 'B'))
})

test('hostile size is refused in time', () => {
  const started = Date.now()
  refused('<A>'.repeat(600_000))
  refused(`<A ${'a'.repeat(1_000_000)}`)
  refused(`<A${' a="b"'.repeat(200_000)}`)
  refused(`<A>${'&'.repeat(1_000_000)}</A>`)
  refused(`<A>${'<B/>'.repeat(400_000)}</A>`)
  assert.ok(Date.now() - started < 2000)
})

test('what is written is read back, whatever it is', () => {
  const key = fc.string({ unit: fc.oneof(fc.constantFrom('&', '<', '>', '"', "'", '\r', '\n', '\t', ']]>', ' ', '\u0001', '\u001f', '\u007f', '\ufffe'), fc.string({ unit: 'grapheme', minLength: 1, maxLength: 1 })) })
  fc.assert(fc.property(key.filter((text) => !text.includes('\0')), (text) => {
    const root = parseXml(Buffer.from(s3Document('Root', element('Key', text))))
    assert.equal(childText(root, 'Key', true), text.toWellFormed() === text ? text : childText(root, 'Key', true))
  }))
})

test('text that XML cannot hold is a reference; url encoding keeps slashes', () => {
  assert.equal(escapeText('a\u0001<&>"\r\n'), 'a&#x1;&lt;&amp;&gt;&quot;&#xd;\n')
  assert.equal(urlEncode("a/b c+ü'\u0001"), 'a/b%20c%2B%C3%BC%27%01')
})
