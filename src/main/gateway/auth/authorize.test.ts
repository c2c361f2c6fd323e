import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Action, Grant } from '../../directory/contract.ts'
import { authorize, authorizedSomewhere } from './authorize.ts'

const allowed = (resource: string, action: Action, bucket: string, key?: string, granted: Grant['action'] = action): boolean =>
  authorize([{ action: granted, resource }], action, bucket, key)

test('`*` is everything', () => {
  assert.ok(allowed('*', 'bucket:create', 'b'))
  assert.ok(allowed('*', 'object:write', 'b', 'k'))
})

test('a bucket is itself and every key in it, and no other', () => {
  assert.ok(allowed('b', 'bucket:delete', 'b'))
  assert.ok(allowed('b', 'object:read', 'b', 'any/key'))
  assert.ok(allowed('b', 'object:list', 'b', ''))
  assert.ok(!allowed('b', 'object:read', 'bb', 'k'))
  assert.ok(!allowed('bb', 'object:read', 'b', 'k'))
})

test('`bucket/*` is the keys and not the bucket', () => {
  assert.ok(allowed('b/*', 'object:read', 'b', 'k'))
  assert.ok(allowed('b/*', 'object:list', 'b', ''))
  assert.ok(!allowed('b/*', 'bucket:delete', 'b'))
  assert.ok(!allowed('b/*', 'object:read', 'c', 'k'))
})

test('`bucket/prefix/*` is what begins so', () => {
  assert.ok(allowed('b/logs/*', 'object:read', 'b', 'logs/1'))
  assert.ok(allowed('b/logs/*', 'object:list', 'b', 'logs/'))
  assert.ok(allowed('b/logs/*', 'object:list', 'b', 'logs/2026/'))
  assert.ok(!allowed('b/logs/*', 'object:list', 'b', 'logs'))
  assert.ok(!allowed('b/logs/*', 'object:list', 'b', ''))
  assert.ok(!allowed('b/logs/*', 'object:read', 'b', 'logs'))
  assert.ok(!allowed('b/logs/*', 'object:read', 'b', 'logs-old/1'))
  assert.ok(!allowed('b/logs/*', 'bucket:read', 'b'))
})

test('anything else grants nothing', () => {
  for (const resource of ['', '/', 'b/', 'b/k', 'b*', 'b/logs*', '*/*', '**', 'B']) assert.ok(!allowed(resource, 'object:read', 'b', 'k'), resource)
})

test('an action grants itself, `*` grants all', () => {
  assert.ok(!allowed('*', 'object:read', 'b', 'k', 'object:write'))
  assert.ok(allowed('b', 'object:delete', 'b', 'k', '*'))
  assert.ok(!authorize([], 'object:read', 'b', 'k'))
  assert.ok(authorizedSomewhere([{ action: 'bucket:list', resource: 'b' }], 'bucket:list'))
  assert.ok(!authorizedSomewhere([{ action: 'object:read', resource: '*' }], 'bucket:list'))
})
