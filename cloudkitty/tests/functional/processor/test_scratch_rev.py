import pytest
from cloudkitty.tests.functional.processor import deployment
from cloudkitty.tests import samples
from cloudkitty.db import scopes
from cloudkitty import period
HOUR=3600
JUNE=deployment.JUNE

@pytest.mark.parametrize('odd', ['', ' ', 'x'*256, 'x'*300, 'a\x00b', '\ud800', '😀', 'A', 'a ', "o'%s;--", None, 5, 'é', 'e\u0301','ß','ss'])
def test_odd(database, odd, caplog):
    cloud = deployment.Deployment(database, 'a', 'b', odd)
    err=None
    try:
        cloud.run()
    except Exception as e:
        err=e
    print('ODD', database.engine.dialect.name if hasattr(database,'engine') else '', ascii(odd), 'ERR', type(err).__name__, str(err)[:100], 'clock a', [ (s.scope.id[:5], cloud.clock_of(s.scope.id) if err is None else '?') for s in scopes.list_states(database, cloud.identity)], [r.getMessage()[:100] for r in caplog.records if r.levelno>=30])

def test_variants_together(database, caplog):
    cloud = deployment.Deployment(database, 'abc', 'ABC', 'abc ', 'Abc', 'ss', 'ß')
    cloud.run(hours=2)
    print('VAR', database.engine.dialect.name if hasattr(database,'engine') else '', [ (s.scope.id, cloud.clock_of(s.scope.id)) for s in scopes.list_states(database, cloud.identity)], cloud.total('project_id'))

@pytest.mark.parametrize('length', [1800, 7200])
def test_period_changed(small, length, monkeypatch):
    small.run(hours=5)
    print('before', small.bill('a'), small.clock_of('a'))
    monkeypatch.setattr(deployment, 'HOUR', length)
    small.worker = small.make_worker()
    small.clock.advance(4*3600)
    try:
        small.run()
    except Exception as e:
        print('ERR', repr(e))
    print('PER', length, sorted({p[0] for p in small.points()}), small.points()[-8:], small.clock_of('a'))

def test_clock_jump(small):
    small.run(hours=1)
    small.source.fail('a', 'cpu')
    small.clock.advance(3650*86400)
    small.limits = deployment.planner.Limits(scopes=100, cells=100)
    small.worker=small.make_worker()
    try: small.worker._rate_share()
    except Exception as e: print(repr(e))
    small.clock.advance(-3650*86400)
    small.source.troubles.clear()
    small.run(hours=5)
    print('JUMP', small.clock_of('a'), small.clock_of('b'), small.failures()[:2])
